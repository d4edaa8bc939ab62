"""The worker with a real queue, real physics and a real planner in process: tickets, outages, stopping, counting."""

import json
import threading

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from properties import examples
from pydantic import ValidationError
from records import read_outcomes
from waiting import PATIENCE, wait_until

from grasp_client.contract import GraspPlan, SceneRequest
from grasp_client.errors import InvalidRequest, ServerUnreachable
from shared.outcome_codec import decode_outcome
from shared.settings import WorkerSettings
from shared.streams import TRAINERS, OutcomeSender, OutcomeStream, SceneRequestStream, WorkerStatusStore, connect
from sim_worker.benchmark.baselines import BASELINES
from sim_worker.worker.outbox import Outbox
from sim_worker.worker.publisher import OutboxPublisher
from sim_worker.worker.scene_requests import LocalSceneRequests, SceneRequestSource
from sim_worker.worker.worker import Worker, boot_name


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """At the end a worker waits for what a busy machine has not sent yet; of the odd it makes short work."""
    monkeypatch.setattr("sim_worker.worker.worker.DRAIN_SECONDS", PATIENCE)
    monkeypatch.setattr("sim_worker.worker.worker.FIRST_PAUSE", 0.0)
    monkeypatch.setattr("sim_worker.worker.refusals.FIRST_PAUSE", 0.0)


def settings(folder, **options) -> WorkerSettings:
    defaults = {
        "outbox_dir": folder / "spool",
        "scene_kind": "single",
        "profile": "clean",
        "vary": "nothing",
        "attempts": 4,
        "worker_id": "w",
    }
    return WorkerSettings(**{**defaults, **options})


def make_worker(options: WorkerSettings, queue: redis.Redis | None, planner=None, tickets: SceneRequestStream | None = None):
    name = boot_name(options.worker_id)
    spool = Outbox(options.outbox_dir, name, options.outbox_limit_mb * 1e6)
    taken: list = []
    if queue:
        publisher = OutboxPublisher(spool, OutcomeSender(queue).publish)
    else:
        publisher = OutboxPublisher(spool, lambda batches: sum(take(batch.outcomes(), taken) for batch in batches))
    # Not by its own name, which is another one at every start: the same scenes every time.
    source = SceneRequestSource(tickets, name, LocalSceneRequests(options, options.worker_id))
    board = WorkerStatusStore(queue) if queue else None
    return Worker(options, name, planner or BASELINES["edges"], source, publisher, board, threading.Event()), taken


def take(outcomes: list, taken: list) -> int:
    taken += outcomes
    return len(outcomes)


def test_without_a_queue_it_makes_its_own_scenes(tmp_path):
    worker, taken = make_worker(settings(tmp_path, attempts=5, worlds=2), None)
    worker.run()
    outcomes = [decode_outcome(each) for each in taken]
    assert len(outcomes) == worker.tally.attempts >= 5
    assert len({outcome.id for outcome in outcomes}) == len(outcomes)
    for outcome in outcomes:
        depth, meta = outcome.images["depth"], outcome.meta
        assert depth.dtype == "uint16"
        assert 3000 < depth[depth > 0].mean() < 12000, "tenths of a millimetre"
        assert meta.scene.objects
        assert meta.scene.ticket
        assert 0 < meta.probability <= 1
        assert "friction" in meta.details
    assert sum(outcome.meta.success for outcome in outcomes) == worker.tally.successes  # type: ignore[attr-defined]
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_grasp_that_was_drawn_is_not_said_to_be_of_the_plan(tmp_path):
    class Named:
        def plan(self, observation, request):
            return BASELINES["edges"].plan(observation, request).model_copy(update={"request_id": "plan-1"})

    worker, taken = make_worker(settings(tmp_path, attempts=8, exploration=1.0), None, Named())
    worker.run()
    drawn = [meta.planner == "on_objects" for meta in (decode_outcome(each).meta for each in taken)]
    assert any(drawn)
    assert [decode_outcome(each).meta.request_id for each in taken] == [None if each else "plan-1" for each in drawn]


def test_a_worker_whose_outcomes_nobody_sends_any_more_ends_with_an_error(tmp_path):
    worker, _ = make_worker(settings(tmp_path, attempts=0), None)
    worker.publisher.run = lambda: None  # its thread ends at once, as after an error that nobody foresaw
    with pytest.raises(RuntimeError, match="has died"):
        worker.run()


def test_a_hand_and_colour_images_of_ones_own(tmp_path):
    hand = tmp_path / "hand.json"
    hand.write_text('{"max_width": 0.06, "finger_width": 0.015}')
    worker, taken = make_worker(settings(tmp_path, attempts=1, gripper=str(hand), rgb=True), None)
    worker.run()
    outcome = decode_outcome(taken[0])
    assert outcome.meta.gripper.max_width == 0.06
    assert outcome.images["rgb"].shape == (*outcome.images["depth"].shape, 3)


def test_tickets_are_taken_done_and_reported(tmp_path, redis_url):
    queue = connect(redis_url)
    tickets = SceneRequestStream(queue)
    for number in range(3):
        tickets.issue(SceneRequest(id=f"t{number}", seed=number, kind="pile", profile="clean", planner="edges", attempts=2))
    worker, _ = make_worker(settings(tmp_path, attempts=6), queue, tickets=tickets)
    worker.run()
    entries = read_outcomes(OutcomeStream(queue))
    assert {outcome.meta.scene.ticket for outcome in entries} <= {"t0", "t1", "t2"}
    assert len(entries) == worker.tally.attempts
    assert tickets.outstanding() == 0
    assert OutcomeStream(queue).sent() == {worker.name: len(entries)}
    line = WorkerStatusStore(queue).read()[worker.name]
    assert (line["attempts"], line["sent"], line["spooled"]) == (len(entries), len(entries), 0)


def test_stopping_keeps_the_attempt_and_leaves_the_rest_of_the_ticket(tmp_path, redis_url):
    queue = connect(redis_url)
    tickets = SceneRequestStream(queue)
    tickets.issue(SceneRequest(id="long", seed=1, kind="pile", profile="clean", attempts=500, exploration=1.0))
    worker, _ = make_worker(settings(tmp_path, attempts=0), queue, tickets=tickets)
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_until(lambda: worker.tally.attempts >= 2)
    worker.stop.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert len(read_outcomes(OutcomeStream(queue))) == worker.tally.attempts
    assert tickets.outstanding() == 1
    assert tickets.claim("another", 0)[1].id == "long"


def test_nothing_is_lost_or_doubled_while_the_queue_is_away(tmp_path, own_queue_server):
    queue = connect(own_queue_server.url)
    worker, _ = make_worker(settings(tmp_path, attempts=0), queue)
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_until(lambda: worker.publisher.delivered >= 2)
    own_queue_server.kill()
    wait_until(lambda: worker.publisher.outbox.waiting() >= 3)
    before = worker.publisher.delivered
    own_queue_server.start()
    wait_until(lambda: worker.publisher.delivered >= before + 3 and worker.publisher.away_since is None)
    worker.stop.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    ids = [outcome.id for outcome in read_outcomes(OutcomeStream(connect(own_queue_server.url)), 10_000)]
    later = Outbox(tmp_path / "spool", "later")
    kept = range(later.claim_orphans())  # what a busy machine did not send before the end waits for the next
    assert len(set(ids)) == len(ids) == sum(OutcomeStream(queue).sent().values())
    assert len(ids) + len(kept) == worker.tally.attempts


def test_a_full_queue_is_waited_for(tmp_path, redis_url):
    queue = connect(redis_url)
    worker, _ = make_worker(settings(tmp_path, attempts=3), queue)
    queue.config_set("maxmemory-policy", "noeviction")
    queue.config_set("maxmemory", "1")
    try:
        worker.run()
    finally:
        queue.config_set("maxmemory", "0")
    assert OutcomeStream(queue).sent() == {}
    later, _ = make_worker(settings(tmp_path, attempts=1), queue)
    wait_until(lambda: later.publisher.outbox.claim_orphans() == 3)
    later.run()
    assert OutcomeStream(queue).sent() == {worker.name: 3, later.name: 1}


def test_a_full_spool_pauses_the_worker(tmp_path):
    worker, _ = make_worker(settings(tmp_path, attempts=0, outbox_limit_mb=0.05), None)

    def away(entry):
        raise redis.ConnectionError("away")

    worker.publisher.deliver = away
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_until(lambda: worker.state == "outbox full")
    attempts = worker.tally.attempts
    assert attempts >= 1
    worker.stop.set()
    thread.join(PATIENCE)
    assert worker.tally.attempts == attempts
    assert Outbox(tmp_path / "spool", "later").claim_orphans() == attempts


def limit_disk(worker: Worker, pages: int) -> None:
    """The outbox's database cannot grow beyond `pages`, as on a full disk; one that is larger cannot grow at all. (What
    is in its last page may still find room: colour images with a camera's noise do not, a third of the clean ones do.)"""
    with worker.publisher.outbox._lock:
        worker.publisher.outbox._own._database.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_pauses_the_worker_until_there_is_room(tmp_path, redis_url):
    queue = connect(redis_url)
    worker, _ = make_worker(settings(tmp_path, attempts=6, rgb=True, profile="standard"), queue)
    limit_disk(worker, 1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    board = WorkerStatusStore(queue)
    wait_until(lambda: board.read().get(worker.name, {}).get("trouble") == f"disk full: {tmp_path / 'spool'}")
    assert OutcomeStream(queue).sent() == {}
    limit_disk(worker, 100_000)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert board.read()[worker.name]["trouble"] == ""
    assert OutcomeStream(queue).sent() == {worker.name: 6}


def test_a_worker_that_is_stopped_on_a_full_disk_leaves_its_scene_request_to_others(tmp_path, redis_url):
    queue = connect(redis_url)
    requests = SceneRequestStream(queue)
    requests.issue(SceneRequest(id="kept", seed=1, attempts=2))
    worker, _ = make_worker(settings(tmp_path, attempts=0, rgb=True), queue, tickets=requests)
    limit_disk(worker, 1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_until(lambda: worker.publisher.trouble)
    worker.stop.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert worker.tally.broken_scenes == 0
    assert requests.claim("another", 0)[1].id == "kept"


# Bounded as the contract bounds them, and then anything.
NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1e-9])
POSES = st.none() | st.lists(st.lists(NUMBERS, min_size=4, max_size=4), min_size=4, max_size=4)
PIXELS = st.tuples(NUMBERS, NUMBERS)
GRASPS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["parallel_jaw", "suction"]), "quality": st.floats(0, 1), "center_px": PIXELS},
    optional={
        "angle": NUMBERS, "depth": NUMBERS, "width": NUMBERS, "width_px": NUMBERS, "pose_camera": POSES, "pose_base": POSES,
    },
)  # fmt: skip
ERRORS = st.sampled_from([KeyError("odd"), ValueError("odd"), RecursionError("odd")])
PLANS = st.fixed_dictionaries({"planner": st.text(), "grasps": st.lists(GRASPS, max_size=3)})


@examples(12)
@given(
    plans=st.lists(PLANS | st.sampled_from([KeyError("odd"), ValueError("odd"), RecursionError("odd")]), min_size=1, max_size=4)
)
def test_no_answer_of_a_server_ends_the_worker(tmp_path_factory, plans):
    class Odd:
        """A server that answers whatever fits the contract, and breaks as no server should; then it answers well."""

        def plan(self, observation, request):
            answer = plans.pop() if plans else None
            if isinstance(answer, Exception):
                raise answer
            try:
                return GraspPlan.model_validate(answer) if answer else BASELINES["edges"].plan(observation, request)
            except ValidationError as error:  # what the client makes of it
                raise InvalidRequest(str(error), code="unreadable") from error

    worker, taken = make_worker(settings(tmp_path_factory.mktemp("w"), attempts=2), None, Odd())
    worker.run()
    assert len(taken) == worker.tally.attempts >= 2


REQUESTS = st.fixed_dictionaries(
    {"id": st.text(max_size=8), "seed": st.integers()},
    optional={
        "kind": st.sampled_from(["single", "bin", "sand"]) | st.text(), "profile": st.text(),
        "object_set": st.sampled_from(["folder", "all"]) | st.text(), "planner": st.text(),
        "model_version": st.integers(), "exploration": st.floats(),
        "attempts": st.integers(), "nonce": st.text(), "purpose": st.text(),
    },
)  # fmt: skip


@examples(12)
@given(asked=st.lists(REQUESTS.map(json.dumps) | st.binary(), max_size=6), rows=st.lists(st.binary(), max_size=3))
def test_nothing_in_the_queue_ends_the_worker(tmp_path_factory, queue_server, asked, rows):
    with connect(queue_server.url) as queue:
        queue.flushall()
        requests = SceneRequestStream(queue)
        for each in asked:
            queue.xadd(requests.stream, {"ticket": each})
        queue.xadd(requests.stream, {b"\xff": b"\xff"})
        for number, row in enumerate(rows):
            queue.hset(TRAINERS, f"evil{number}", row)
        requests.issue(SceneRequest(id="good", seed=2, profile="clean", planner="edges"))
        worker, _ = make_worker(settings(tmp_path_factory.mktemp("w"), attempts=1), queue, tickets=requests)
        worker.requests.trainers = WorkerStatusStore(queue, TRAINERS)
        worker.run()
        assert worker.tally.attempts >= 1


class Moody:
    """A server that is away at first, then refuses what it does not know."""

    def __init__(self) -> None:
        self.calls = 0

    def plan(self, observation, request):
        self.calls += 1
        if self.calls == 1:
            raise ServerUnreachable("connection refused", code="unreachable")
        if request.planner == "nonsense":
            raise InvalidRequest("unknown planner 'nonsense'", code="unknown_planner", status=404)
        return BASELINES["edges"].plan(observation, request)


def test_it_waits_for_the_server_and_hands_back_tickets_that_are_refused(tmp_path, redis_url):
    queue = connect(redis_url)
    tickets = SceneRequestStream(queue)
    tickets.issue(SceneRequest(id="bad", seed=1, planner="nonsense"))
    tickets.issue(SceneRequest(id="unknown-kind", seed=1, kind="heap of sand"))
    tickets.issue(SceneRequest(id="good", seed=2, profile="clean", attempts=2))
    worker, _ = make_worker(settings(tmp_path, attempts=1), queue, Moody(), tickets)
    worker.run()
    assert worker.tally.refused_requests == 1
    assert worker.tally.broken_scenes == 1
    assert worker.tally.attempts == 1


def test_a_planner_that_is_refused_time_and_again_is_told_with_the_reason(tmp_path, redis_url):
    queue = connect(redis_url)
    tickets = SceneRequestStream(queue)
    for number in range(4):
        tickets.issue(SceneRequest(id=f"bad-{number}", seed=number, profile="clean", planner="nonsense"))
    tickets.issue(SceneRequest(id="good", seed=2, profile="clean", planner="edges"))
    worker, _ = make_worker(settings(tmp_path, attempts=1), queue, Moody(), tickets)
    worker.run()
    line = WorkerStatusStore(queue).read()[worker.name]
    assert line["refused"] == {"nonsense": "unknown planner 'nonsense'"}
    assert line["trouble"] == "nonsense is refused: unknown planner 'nonsense'"


def test_own_tickets_come_only_when_no_trainer_asks(tmp_path, redis_url):
    queue, clock = connect(redis_url), [0.0]
    tickets = SceneRequestStream(queue)
    source = SceneRequestSource(tickets, "w", LocalSceneRequests(settings(tmp_path), "w"), clock=lambda: clock[0])
    assert source.next(1) is None, "a trainer may be starting"
    clock[0] = 5.0
    assert source.next(1)[0] is None
    tickets.issue(SceneRequest(id="asked", seed=3))
    assert source.next(1)[1].id == "asked"
    clock[0] = 20.0
    assert source.next(1) is None, "the trainer may be training"
    clock[0] = 40.0
    assert source.next(1)[0] is None


def test_a_trainer_that_is_behind_makes_its_workers_wait(tmp_path, redis_url):
    queue, clock = connect(redis_url), [100.0]
    board = WorkerStatusStore(queue, TRAINERS)
    source = SceneRequestSource(
        SceneRequestStream(queue), "w", LocalSceneRequests(settings(tmp_path), "w"), board, lambda: clock[0]
    )
    board.report("trainer", {"asks": True})
    clock[0] = 110.0
    assert source.next(1) is None
    clock[0] = 120.0
    board.report("trainer", {"asks": False})
    assert source.next(1) is None, "asked a moment ago"
    clock[0] = 141.0
    assert source.next(1)[0] is None


def test_own_scene_that_comes_back_to_a_trainers_failure_does_not_carry_its_proof(tmp_path):
    own = LocalSceneRequests(settings(tmp_path), "w")
    own.learn(SceneRequest(id="collect-5", seed=7, nonce="given"), success=False)
    made = [own.make() for _ in range(200)]
    assert [request.nonce for request in made if request.seed == 7] == [""]


def test_own_tickets_differ_between_starts_and_revisit_failures(tmp_path):
    first, second = (LocalSceneRequests(settings(tmp_path, scene_kind="mixed"), boot_name("w")) for _ in range(2))
    seeds = [own.make().seed for own in (first, second) for _ in range(50)]
    assert len(set(seeds)) == 100
    hard = first.make()
    first.learn(hard, success=False)
    assert hard.seed in [first.make().seed for _ in range(200)]


@pytest.mark.parametrize("name", ["a b:c/d", "", "host-1"])
def test_boot_names_are_unique_and_plain(name):
    made = {boot_name(name) for _ in range(100)}
    assert len(made) == 100
    assert all(set(":/ ").isdisjoint(one) for one in made)
