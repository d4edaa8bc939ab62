import json
import time

import numpy as np
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from properties import examples
from records import dead_letters, send
from waiting import FakeClock

from grasp_client.contract import Grasp, GraspMeta, ImageSpec, Outcome, SceneRequest
from shared.outcome_codec import encode_outcome
from shared.streams import OutcomeStream, SceneRequestStream, WorkerStatusStore, connect, redacted
from shared.streams.worker_status import StatusRow


def outcome(number: int = 0, **changes) -> Outcome:
    depth = np.arange(12, dtype=np.uint16).reshape(3, 4) + number
    grasp = Grasp(kind="parallel_jaw", quality=0.5, center_px=[1.0, 2.0], angle=0.1)
    meta = GraspMeta(grasp=grasp, planner="antipodal", success=True, images={"depth": ImageSpec(shape=[3, 4], dtype="uint16")})
    return Outcome(id=f"worker:{number}:0", meta=meta.model_copy(update=changes), images={"depth": depth})


def name(entry):
    [delivered] = entry.outcomes
    return delivered.outcome.id


@pytest.fixture
def client(redis_url):
    client = connect(redis_url)
    client.flushall()
    return client


@pytest.fixture
def stream(client):
    return OutcomeStream(client)


def test_read_acknowledge_and_trim(stream):
    for number in range(5):
        assert send(stream, outcome(number))
    entries = stream.read("a", count=3)
    assert [name(entry) for entry in entries] == ["worker:0:0", "worker:1:0", "worker:2:0"]
    assert (stream.pending(), stream.lag()) == (3, 2)
    stream.ack([entries[0].key])
    assert stream.trim() == 1
    assert stream.client.xlen(stream.stream) == 4
    stream.ack([entry.key for entry in entries[1:]])
    assert stream.trim() == 2
    assert [name(entry) for entry in stream.read("a", block_ms=10)] == ["worker:3:0", "worker:4:0"]


def test_a_retry_is_neither_added_nor_counted_twice(stream):
    assert send(stream, outcome(1), worker="w", sequence=1)
    assert not send(stream, outcome(1), worker="w", sequence=1)
    assert send(stream, outcome(2), worker="w", sequence=2)
    assert stream.sent() == {"w": 2}
    assert len(stream.read("a")) == 2


def test_unfinished_entries_are_taken_over(stream):
    send(stream, outcome())
    taken = stream.read("dies")
    assert [entry.key for entry in stream.claim("lives", min_idle_ms=0)] == [entry.key for entry in taken]
    assert stream.deliveries()[taken[0].key] == 2


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"v": "9", "id": "x", "meta": "{}"}, "schema version is 9"),
        ({"id": "x", "meta": "{}"}, "schema version is missing"),
        ({"v": "1", "id": "x"}, "missing fields: meta"),
        ({"v": "1", "id": "x", "meta": "{"}, "meta"),
        ({"v": "1", "id": "x", "meta": "{}"}, "success: Field required"),
        ({**encode_outcome(outcome()).fields(), "depth": b"abc"}, "has 3 bytes"),
        ({name: value for name, value in encode_outcome(outcome()).fields().items() if name != "depth"}, "no such image"),
    ],
)
def test_unreadable_entries_become_dead_letters_with_the_reason(stream, fields, reason):
    stream.client.xadd(stream.stream, fields)
    (entry,) = stream.read("a")
    assert entry.outcomes == []
    assert reason in entry.error
    stream.dead_letter(entry.key, entry.raw, entry.error)
    assert dead_letters(stream) == [(entry.key, entry.error)]
    assert stream.pending() == 0


def test_a_full_queue_refuses_and_counts_nothing(stream):
    stream.client.config_set("maxmemory-policy", "noeviction")
    stream.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(redis.RedisError):
            send(stream, outcome(), worker="w", sequence=1)
    finally:
        stream.client.config_set("maxmemory", "0")
    assert stream.sent() == {}
    assert send(stream, outcome(), worker="w", sequence=1)


def test_the_group_comes_back_after_the_queue_was_emptied(stream):
    send(stream, outcome(1))
    stream.read("a")
    stream.client.flushall()
    send(stream, outcome(2))
    assert [name(entry) for entry in stream.read("a")] == ["worker:2:0"]


def test_tickets_go_to_one_worker_and_return_from_a_dead_one(client):
    tickets = SceneRequestStream(client)
    for seed in (1, 2):
        tickets.issue(SceneRequest(id=f"t{seed}", seed=seed))
    key, first = tickets.take("a")
    _, second = tickets.take("b")
    assert (first.seed, second.seed) == (1, 2)
    assert tickets.take("c", block_ms=10) is None
    tickets.done(key)
    assert tickets.outstanding() == 1
    _, again = tickets.claim("c", min_idle_ms=0)
    assert again == second


def test_a_ticket_of_another_version_is_dropped(client):
    tickets = SceneRequestStream(client)
    client.xadd(tickets.stream, {"ticket": "{}"})
    assert tickets.take("a") is None
    assert tickets.outstanding() == 0


def test_the_board_shows_who_reported_lately(client):
    board = WorkerStatusStore(client)
    board.report("w", {"attempts": 3})
    assert board.read()["w"]["attempts"] == 3
    assert board.read(max_age_seconds=-1) == {}


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_jump_of_the_clock_hides_and_keeps_nobody(client, monkeypatch, jump):
    clock = FakeClock()
    monkeypatch.setattr("shared.streams.worker_status.time", clock)
    writer, reader = (WorkerStatusStore(client, clock=lambda: elapsed[0]) for _ in range(2))
    elapsed = [0.0]
    for name in ("alive", "dead"):
        writer.report(name, {})
    assert set(reader.read(10)) == {"alive", "dead"}
    clock.now += jump
    assert set(reader.read(10)) == {"alive", "dead"}
    elapsed[0], clock.now = 9.0, clock.now + 9
    writer.report("alive", {"attempts": 1})
    assert reader.read(10)["alive"]["attempts"] == 1
    elapsed[0], clock.now = 15.0, clock.now + 6
    assert set(reader.read(10)) == {"alive"}


def test_keys_of_other_types_are_set_aside(client):
    outcomes, tickets = OutcomeStream(client), SceneRequestStream(client)
    keys = [outcomes.stream, outcomes.dead, tickets.stream, "grasp:workers", f"{outcomes.stream}:sent"]
    for key in keys:
        client.set(key, "odd")
    assert outcomes.read("trainer", block_ms=1) == []
    assert tickets.outstanding() == 0
    WorkerStatusStore(client).report("w", {})
    assert "w" in WorkerStatusStore(client).read()
    send(outcomes, outcome(1), "w", 1)
    client.xadd(outcomes.stream, {"x": "y"})
    _, odd = outcomes.read("trainer", block_ms=1)
    outcomes.dead_letter(odd.key, odd.raw, "odd")
    assert client.xlen(outcomes.dead) == 1
    assert outcomes.sent() == {"w": 1}
    assert all(client.get(f"{key}:string") == b"odd" for key in keys)


NO_STATUS = [
    b"", b"{}", b"null",
    b"[" * 50_000, b"\xff\xfe", b'{"time": "soon"}', b'{"time": NaN}', b'{"time": 1e999}', b'{"time": 1e300}',
    b'{"time": NOW, "attempts": "many"}', b'{"time": NOW, "attempts": -1}', b'{"time": NOW, "attempts": 1e400}',
    b'{"time": NOW, "state": ["working"]}', b'{"time": NOW, "state": "' + b"x" * 10**6 + b'"}',
]  # fmt: skip


def test_what_is_no_status_is_left_out_and_forgotten_at_the_next_start(client):
    WorkerStatusStore(client).report("good", {"attempts": 3, "state": "work\x1b[31ming"})
    for number, text in enumerate(NO_STATUS):
        client.hset("grasp:workers", f"evil{number}".encode() + b"\xff", text.replace(b"NOW", str(time.time()).encode()))
    rows = WorkerStatusStore(client).read()
    assert list(rows) == ["good"]
    assert (rows["good"]["attempts"], rows["good"]["successes"], rows["good"]["state"]) == (3, 0, "work?[31ming")
    WorkerStatusStore(client).report("new", {})
    assert sorted(client.hkeys("grasp:workers")) == [b"good", b"new"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
ROWS = st.dictionaries(st.sampled_from(["time", "attempts", "successes", "state", "trouble", "asks", "x"]), JSON_VALUES)


@examples(30)
@given(row=ROWS.map(json.dumps).map(str.encode) | st.binary())
def test_a_row_has_the_fields_that_are_shown_or_is_not_there(queue_server, row):
    with connect(queue_server.url) as client:
        client.delete("grasp:workers")
        client.hset("grasp:workers", "some", row.replace(b'"x"', f'"time": {time.time()}, "x"'.encode()))
        for shown in WorkerStatusStore(client).read().values():
            assert shown["successes"] + shown["attempts"] >= 0
            assert f"{shown['state']}{shown['trouble']}".isprintable()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://worker:s3cret@queue:6380/1?ssl_ca_certs=/ca.pem", "rediss://***@queue:6380/1?ssl_ca_certs=/ca.pem"),
        ("redis://:s3/cr@et://@queue", "redis://***@queue"),
        ("unix:///data/queue.sock?db=1&password=s3cret&x=1", "unix:///data/queue.sock?db=1&password=***&x=1"),
        ("s3cret@queue", "***@queue"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert redacted(url) == shown


def test_a_url_that_is_none_is_refused_without_its_password():
    with pytest.raises(ValueError, match=r"redis://\*\*\*@queue:port: expected") as refused:
        connect("redis://:s3cret@queue:port")
    assert refused.value.__suppress_context__
    assert "s3cret" not in str(refused.value)


def test_a_first_report_reads_each_row_once(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client, read = connect(redis_url), list[bytes]()
    for number in range(20):
        WorkerStatusStore(client).report(f"w{number}", {})
    validate = StatusRow.model_validate_json
    monkeypatch.setattr(StatusRow, "model_validate_json", lambda text: read.append(text) or validate(text))
    WorkerStatusStore(client).report("new", {})
    assert len(read) == 21
