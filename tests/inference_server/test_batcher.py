"""The inference thread: batching, deadlines, refusals, neighbours of a bad job, draining."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from waiting import PATIENCE, FakeClock

from inference_server.batching.batcher import Answer, Batcher, run_all
from inference_server.errors import ServerError
from inference_server.metrics import Metrics
from planning.batched_inference import between_passes


class Gate:
    """A `run` that holds the inference thread until it is opened, and remembers its batches."""

    def __init__(self) -> None:
        self.opened, self.entered = threading.Event(), threading.Event()
        self.batches: list[list[Any]] = []

    def __call__(self, payloads: list[Any]) -> list[Any]:
        self.batches.append(payloads)
        self.entered.set()
        assert self.opened.wait(PATIENCE)
        return [payload * 2 for payload in payloads]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def batcher(metrics: Metrics, clock: FakeClock) -> Iterator[Batcher]:
    """Deadlines and estimates go by a clock that the test moves; only a deadline that passes while all wait takes real time."""
    made = Batcher(4, metrics, clock.monotonic)
    made.start()
    yield made
    made.close(0)


async def ask(
    batcher: Batcher,
    run: Any,
    payload: Any,
    client: str = "x",
    seconds: float = PATIENCE,
    most: int = 8,
    forecast: float = 0.01,
) -> Answer:
    deadline = batcher.clock() + seconds
    return await batcher.reserve(client, deadline).submit("g", run, payload, deadline, most, forecast)


async def held(batcher: Batcher, gate: Gate) -> asyncio.Task:
    """A first job that the thread is busy with."""
    task = asyncio.create_task(ask(batcher, gate, 0, client="first"))
    assert await asyncio.to_thread(gate.entered.wait, PATIENCE)
    return task


def run(coroutine: Coroutine) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE))


def test_what_waits_is_answered_as_one_batch(batcher: Batcher, metrics: Metrics) -> None:
    async def scene() -> list[Any]:
        gate = Gate()
        first = await held(batcher, gate)
        rest = [asyncio.create_task(ask(batcher, gate, payload)) for payload in (1, 2, 3)]
        await asyncio.sleep(0)
        gate.opened.set()
        answers = [answer.result for answer in await asyncio.gather(first, *rest)]
        assert gate.batches == [[0], [1, 2, 3]]
        sample = metrics.registry.get_sample_value
        assert (sample("grasp_batch_size_count"), sample("grasp_batch_size_sum")) == (2, 4)
        return answers

    assert run(scene()) == [0, 2, 4, 6]


def test_past_its_deadline_a_job_gets_504_and_is_never_run(batcher: Batcher) -> None:
    async def scene() -> None:
        gate = Gate()
        first = await held(batcher, gate)
        with pytest.raises(ServerError) as late:
            await ask(batcher, gate, 1, seconds=0.02)
        assert late.value.status == 504
        assert len(batcher.queue) == 0, "its place is free again at once"
        gate.opened.set()
        await first
        assert gate.batches == [[0]]

    run(scene())


def test_a_running_job_does_not_keep_its_client_past_the_deadline(batcher: Batcher) -> None:
    async def scene() -> None:
        gate = Gate()
        with pytest.raises(ServerError) as late:
            await ask(batcher, gate, 0, seconds=0.05)
        assert late.value.status == 504
        gate.opened.set()
        assert (await ask(batcher, gate, 5)).result == 10

    run(scene())


def test_a_slot_that_is_given_up_leaves_neither_place_nor_work(batcher: Batcher) -> None:
    async def scene() -> None:
        gate = Gate()
        first = await held(batcher, gate)
        unused, given_up = batcher.reserve("x", batcher.clock() + PATIENCE), batcher.reserve("x", batcher.clock() + PATIENCE)
        answer = given_up.submit("g", gate, 1, batcher.clock() + PATIENCE, 8, 0.01)
        assert len(batcher.queue) == 2
        for slot in (unused, given_up):
            slot.release()
        assert answer.cancelled()
        assert len(batcher.queue) == 0
        gate.opened.set()
        await first
        assert gate.batches == [[0]]

    run(scene())


def test_a_full_queue_refuses_with_a_time_to_come_back(batcher: Batcher) -> None:
    async def scene() -> None:
        gate = Gate()
        first = await held(batcher, gate)
        waiting = [asyncio.create_task(ask(batcher, gate, payload)) for payload in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(ServerError) as refused:
            await ask(batcher, gate, 9)
        assert (refused.value.status, refused.value.code) == (429, "queue_full")
        assert 1 <= (refused.value.retry_after or 0) <= 30
        gate.opened.set()
        await asyncio.gather(first, *waiting)

    run(scene())


async def jobs_cost(batcher: Batcher, clock: FakeClock, seconds: float) -> None:
    """What the batcher learns of jobs that take so long."""
    for _ in range(3):
        await ask(batcher, lambda payloads: clock.sleep(seconds) or payloads, 0, most=1)


def test_what_would_be_late_is_refused_at_once(batcher: Batcher, clock: FakeClock) -> None:
    async def scene() -> None:
        batcher.check_room("x", clock.now + 0.4)  # nothing is known yet of what a job costs
        await jobs_cost(batcher, clock, 0.1)
        gate = Gate()
        first = await held(batcher, gate)
        waiting = [asyncio.create_task(ask(batcher, gate, payload, "flood")) for payload in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ServerError) as refused:
            batcher.check_room("flood", clock.now + 0.4)
        assert (refused.value.status, refused.value.code) == (429, "deadline_unreachable")
        assert "3 requests come first" in refused.value.message
        batcher.check_room("flood", clock.now + 20)
        batcher.check_room("trickle", clock.now + 0.4)  # its turn comes after one of the flood
        gate.opened.set()
        await asyncio.gather(first, *waiting)

    run(scene())


def test_what_became_late_while_its_body_arrived_is_refused_too(batcher: Batcher, clock: FakeClock) -> None:
    async def scene() -> None:
        await jobs_cost(batcher, clock, 0.1)
        gate = Gate()
        first = await held(batcher, gate)
        soon = clock.now + 0.2
        batcher.check_room("flood", soon)
        waiting = [asyncio.create_task(ask(batcher, gate, payload, "flood")) for payload in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ServerError) as refused:
            batcher.reserve("flood", soon)
        assert refused.value.code == "deadline_unreachable"
        gate.opened.set()
        await asyncio.gather(first, *waiting)

    run(scene())


def test_a_line_slowed_down_by_others_is_refused_earlier(batcher: Batcher, clock: FakeClock) -> None:
    async def scene() -> None:
        gate = Gate()
        first = await held(batcher, gate)
        waiting = [asyncio.create_task(ask(batcher, gate, payload, "flood", most=1)) for payload in range(3)]
        await asyncio.sleep(0)
        clock.sleep(0.3)  # whatever keeps the machine busy
        gate.opened.set()
        await asyncio.gather(first, *waiting)
        assert batcher.estimator.wait("flood", 1, 2) >= 0.3
        assert batcher.estimator.wait("trickle", 1, 0) < 0.3

    run(scene())


def test_a_trickle_gets_in_beside_a_flood(batcher: Batcher) -> None:
    async def scene() -> None:
        gate = Gate()
        first = await held(batcher, gate)
        flood = [asyncio.create_task(ask(batcher, gate, payload, "flood")) for payload in range(4)]
        await asyncio.sleep(0)
        trickle = asyncio.create_task(ask(batcher, gate, 21, "trickle"))
        await asyncio.sleep(0)
        gate.opened.set()
        assert (await trickle).result == 42
        results = await asyncio.gather(first, *flood, return_exceptions=True)
        refused = [result for result in results if isinstance(result, ServerError)]
        assert [error.status for error in refused] == [429]

    run(scene())


def test_one_bad_payload_does_not_fail_its_neighbours() -> None:
    def run_batch(payloads: list[int]) -> list[int]:
        if 3 in payloads:
            raise ValueError("three")
        return [payload + 1 for payload in payloads]

    first, bad, last = run_all(run_batch, [1, 3, 5])
    assert (first, last) == (2, 6)
    assert isinstance(bad, ValueError)


def test_a_run_that_loses_answers_is_an_error() -> None:
    assert all(isinstance(result, RuntimeError) for result in run_all(lambda payloads: [], [1, 2]))


def test_a_batch_stays_short_where_time_grows_with_it(batcher: Batcher, clock: FakeClock) -> None:
    batches: list[int] = []

    def slow(payloads: list[Any]) -> list[Any]:
        batches.append(len(payloads))
        clock.sleep(0.06 * len(payloads))
        return payloads

    async def scene() -> None:
        await ask(batcher, slow, 0)
        await asyncio.gather(*(ask(batcher, slow, payload) for payload in range(4)))

    run(scene())
    assert batches == [1, 1, 1, 1, 1]


def test_functions_run_in_the_inference_thread(batcher: Batcher) -> None:
    assert batcher.between_batches(lambda: threading.current_thread().name).result(PATIENCE) == "inference"
    with pytest.raises(ZeroDivisionError):
        batcher.between_batches(lambda: 1 // 0).result(PATIENCE)
    assert batcher.alive()


def test_closing_finishes_what_was_accepted_and_refuses_the_rest(batcher: Batcher) -> None:
    async def scene() -> None:
        gate = Gate()
        first = await held(batcher, gate)
        second = asyncio.create_task(ask(batcher, gate, 1))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close, PATIENCE))
        while not batcher.closing:
            await asyncio.sleep(0.001)
        with pytest.raises(ServerError) as refused:
            await ask(batcher, gate, 2)
        assert refused.value.status == 503
        gate.opened.set()
        assert [(await first).result, (await second).result] == [0, 2]
        await closing
        assert not batcher.alive()

    run(scene())


def test_what_cannot_be_drained_in_time_gets_503(batcher: Batcher) -> None:
    async def scene() -> None:
        gate = Gate()
        first = await held(batcher, gate)
        second = asyncio.create_task(ask(batcher, gate, 1))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close, 0.05))
        with pytest.raises(ServerError) as refused:
            await second
        assert refused.value.status == 503
        gate.opened.set()
        await asyncio.gather(first, closing)

    run(scene())


def passes(count: int, said: list[str], name: str, pause: Any = None) -> Any:
    """A `run` of so many passes, between which others may go first; pause() is called before each."""

    def run_batch(payloads: list[Any]) -> list[Any]:
        for number in range(count):
            if pause:
                pause(number)
            between_passes.get()()
            said.append(f"{name}{number}")
        return payloads

    return run_batch


def test_quick_jobs_overtake_between_the_passes_of_a_slow_one(batcher: Batcher) -> None:
    async def scene() -> None:
        said: list[str] = []
        entered, opened = threading.Event(), threading.Event()

        def pause(number: int) -> None:
            if number == 1:
                entered.set()
                assert opened.wait(PATIENCE)

        slow = asyncio.create_task(ask(batcher, passes(3, said, "slow", pause), 0, "flood", forecast=8.0))
        assert await asyncio.to_thread(entered.wait, PATIENCE)
        waiting = [
            asyncio.create_task(ask(batcher, passes(1, said, "dear"), 1, "other", forecast=7.0)),
            asyncio.create_task(ask(batcher, passes(2, said, "quick"), 2, "third", forecast=0.1)),
        ]
        await asyncio.sleep(0)
        opened.set()
        await asyncio.gather(slow, *waiting)
        assert said == ["slow0", "quick0", "quick1", "slow1", "slow2", "dear0"]

    run(scene())


def test_the_time_of_others_is_not_counted(batcher: Batcher, clock: FakeClock) -> None:
    async def scene() -> None:
        entered, opened = threading.Event(), threading.Event()

        def pause(number: int) -> None:
            clock.sleep(1.0)
            if number == 1:
                entered.set()
                assert opened.wait(PATIENCE)

        slow = asyncio.create_task(ask(batcher, passes(3, [], "slow", pause), 0, forecast=8.0))
        assert await asyncio.to_thread(entered.wait, PATIENCE)
        quick = asyncio.create_task(ask(batcher, passes(1, [], "quick", lambda _: clock.sleep(0.5)), 0, forecast=0.1))
        await asyncio.sleep(0)
        opened.set()
        assert (await quick).seconds == 0.5
        assert (await slow).seconds == 3.0

    run(scene())


def test_work_is_given_up_between_its_passes_when_nobody_waits_any_more(batcher: Batcher, metrics: Metrics) -> None:
    async def scene() -> None:
        said: list[str] = []
        entered, opened = threading.Event(), threading.Event()

        def pause(number: int) -> None:
            if number == 1:
                entered.set()
                assert opened.wait(PATIENCE)

        slow = asyncio.create_task(ask(batcher, passes(3, said, "slow", pause), 0, forecast=8.0))
        assert await asyncio.to_thread(entered.wait, PATIENCE)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        opened.set()
        await ask(batcher, passes(1, said, "next"), 1)
        assert said == ["slow0", "next0"]
        assert batcher.alive()
        assert metrics.registry.get_sample_value("grasp_expired_total") == 1

    run(scene())


def test_what_would_take_too_long_is_refused_with_the_figure(metrics: Metrics, clock: FakeClock) -> None:
    batcher = Batcher(4, metrics, clock.monotonic, most_seconds=5.0)
    batcher.start()

    async def scene() -> None:
        for seconds, forecast in ((PATIENCE, 5.1), (1.0, 2.5)):
            with pytest.raises(ServerError) as refused:
                await ask(batcher, lambda payloads: payloads, 0, seconds=seconds, forecast=forecast)
            assert (refused.value.status, refused.value.code) == (422, "too_expensive")
            assert f"{forecast} s" in refused.value.message
            assert refused.value.detail["cpu_seconds"] == forecast
        assert (await ask(batcher, lambda payloads: payloads, 3, forecast=4.9)).result == 3

    try:
        run(scene())
    finally:
        batcher.close(0)


def test_forecasts_follow_what_jobs_take_here(metrics: Metrics, clock: FakeClock) -> None:
    batcher = Batcher(4, metrics, clock.monotonic, most_seconds=5.0)
    batcher.start()

    def slower(payloads: list[Any]) -> list[Any]:
        clock.sleep(8.0)
        return payloads

    async def scene() -> None:
        await ask(batcher, slower, 0, forecast=4.0)
        with pytest.raises(ServerError) as refused:
            await ask(batcher, slower, 0, forecast=4.0)
        assert refused.value.code == "too_expensive"
        assert refused.value.detail["cpu_seconds"] > 5

    try:
        run(scene())
    finally:
        batcher.close(0)


def test_a_cheap_plan_does_not_make_the_next_one_cheap(batcher: Batcher, clock: FakeClock) -> None:
    for _ in range(5):
        batcher.estimator.note_batch("g", 0.01, False, 1.0)
    assert batcher.estimator.forecast_ratios["g"] > 0.9
    for _ in range(1000):
        batcher.estimator.note_batch("g", 0.01, False, 1.0)
    assert batcher.estimator.forecast_ratios["g"] == 0.25
    batcher.estimator.note_batch("g", 4.0, False, 1.0)
    assert batcher.estimator.forecast_ratios["g"] > 1


def test_inference_time_is_shared_between_clients(batcher: Batcher, clock: FakeClock) -> None:
    async def scene() -> None:
        gate, said = Gate(), []
        first = await held(batcher, gate)

        def note(payloads: list[Any]) -> list[Any]:
            said.extend(payloads)
            clock.sleep(1.0 if "dear" in payloads[0] else 0.1)
            return payloads

        waiting = [asyncio.create_task(ask(batcher, note, f"dear{k}", "x", most=1, forecast=1.0)) for k in range(2)]
        waiting += [asyncio.create_task(ask(batcher, note, f"cheap{k}", "y", most=1, forecast=0.1)) for k in range(2)]
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(first, *waiting)
        assert said.index("cheap1") < said.index("dear1")

    run(scene())
