"""The bounded queue: batches of one group, a round over the clients, room made at the cost of the longest line."""

from __future__ import annotations

import threading

import pytest

from inference_server.batching.fair_queue import Entry, FairQueue, QueueFull


def job(client: str, group: str = "a", most: int = 8) -> Entry:
    return Entry(client, group, most)


def fill(queue: FairQueue, *jobs: Entry) -> None:
    for each in jobs:
        queue.reserve(each.client)
        queue.put(each)


def taken(queue: FairQueue) -> list[Entry]:
    return queue.take(timeout=0)[1]


def test_a_batch_is_one_group_and_at_most_so_many() -> None:
    queue: FairQueue = FairQueue(10)
    jobs = [job("x", group, most=2) for group in "aabaa"]
    fill(queue, *jobs)
    assert taken(queue) == jobs[:2]
    assert taken(queue) == [jobs[2]]
    assert taken(queue) == jobs[3:]
    assert taken(queue) == []


def test_clients_take_turns() -> None:
    queue: FairQueue = FairQueue(20)
    flood = [job("flood", most=4) for _ in range(8)]
    trickle = job("trickle", most=4)
    fill(queue, *flood, trickle)
    assert trickle in taken(queue), "eight jobs came first, yet the other client is in the first batch"


def test_reserved_places_count() -> None:
    queue: FairQueue = FairQueue(2)
    queue.reserve("x")
    queue.reserve("x")
    with pytest.raises(QueueFull):
        queue.reserve("x")
    queue.release("x")
    queue.reserve("x")
    assert len(queue) == 2


def test_a_newcomer_takes_the_place_of_the_longest_lines_newest() -> None:
    queue: FairQueue = FairQueue(4)
    flood = [job("flood") for _ in range(4)]
    fill(queue, *flood)
    assert queue.reserve("trickle") is flood[-1]
    assert len(queue) == 4
    assert queue.reserve("other") is flood[-2]
    with pytest.raises(QueueFull):
        queue.reserve("flood")
    assert queue.reserve("third") is flood[-3]
    with pytest.raises(QueueFull):
        queue.reserve("fourth")  # everybody holds one place: nobody has to give way


def test_lines_in_turn_decide_how_many_come_first() -> None:
    queue: FairQueue = FairQueue(20)
    fill(queue, *[job("flood") for _ in range(8)], job("other"))
    assert queue.ahead("flood") == 9
    assert queue.ahead("other") == 3, "two of the flood and its own"
    assert queue.ahead("new") == 2


def test_a_withdrawn_job_is_not_taken() -> None:
    queue: FairQueue = FairQueue(4)
    first, second = job("x"), job("x")
    fill(queue, first, second)
    assert queue.withdraw(first)
    assert not queue.withdraw(first)
    assert taken(queue) == [second]
    assert len(queue) == 0


def test_functions_come_before_jobs() -> None:
    queue: FairQueue = FairQueue(4)
    fill(queue, job("x"))
    queue.call("swap")
    calls, jobs = queue.take(timeout=0)
    assert calls == ["swap"]
    assert len(jobs) == 1


def test_no_place_leaks_under_threads() -> None:
    queue: FairQueue = FairQueue(16)
    served: list[Entry] = []
    done = threading.Event()

    def serve() -> None:
        while not (done.is_set() and len(queue) == 0):
            served.extend(queue.take(timeout=0.01)[1])

    def ask(client: str) -> None:
        for _ in range(200):
            try:
                queue.reserve(client)
            except QueueFull:
                continue
            queue.put(job(client))

    server = threading.Thread(target=serve)
    clients = [threading.Thread(target=ask, args=(name,)) for name in "abc"]
    for thread in (server, *clients):
        thread.start()
    for thread in clients:
        thread.join()
    done.set()
    server.join()
    assert len(queue) == 0
    assert queue.take(timeout=0) == ([], [])
    assert served


def costing(client: str, cost: float) -> Entry:
    return Entry(client, "a", 1, cost=cost)


def test_lines_are_served_by_what_they_have_cost() -> None:
    queue: FairQueue = FairQueue(20)
    dear, cheap = [costing("dear", 3.0) for _ in range(3)], [costing("cheap", 1.0) for _ in range(5)]
    fill(queue, *dear, *cheap)
    order = [taken(queue)[0].client[0] for _ in range(8)]
    assert "".join(order) == "dcccdccd"


def test_what_a_job_cost_more_is_paid_by_its_client() -> None:
    queue: FairQueue = FairQueue(20)
    fill(queue, *[costing("x", 1.0) for _ in range(3)], *[costing("y", 1.0) for _ in range(3)])
    assert taken(queue)[0].client == "x"
    queue.charge("x", 2.0)
    assert [taken(queue)[0].client for _ in range(4)] == ["y", "y", "y", "x"]


def test_nothing_is_owed_when_nobody_waits() -> None:
    queue: FairQueue = FairQueue(20)
    fill(queue, costing("x", 100.0))
    taken(queue)
    queue.charge("x", 100.0)
    fill(queue, costing("x", 1.0), costing("y", 1.0))
    assert taken(queue)[0].client == "x"


def test_a_quick_job_is_not_batched_with_one_that_it_would_wait_for() -> None:
    queue: FairQueue = FairQueue(20)
    quick, slow, alike = (Entry(client, "a", 8, cost=cost) for client, cost in (("x", 1.0), ("y", 10.0), ("z", 2.0)))
    fill(queue, quick, slow, alike)
    assert taken(queue) == [quick, alike]
    assert queue.take_below(5.0) == []
    assert taken(queue) == [slow]
