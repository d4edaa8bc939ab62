"""Outcomes of a scene as one entry: what goes in comes out, and nothing that is no such entry does harm."""

from __future__ import annotations

import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from properties import examples
from records import send_scene
from test_shards import outcome as shard_outcome

from grasp_client.contract import ImageSpec, Outcome
from shared.outcome_codec import EncodedOutcome, UnreadableOutcome, encode_outcome
from shared.streams import OutcomeSender, OutcomeStream, connect, stream_names
from shared.streams.outcome_batches import IMAGE, TEXT, OutcomeBatch, pack_image, pack_outcomes, unpack_image, unpack_outcomes

DEPTH = np.arange(35, dtype=np.uint16).reshape(5, 7)


def outcome(number: int, depth: np.ndarray = DEPTH) -> Outcome:
    return shard_outcome(f"w:1:{number}", depth)


IMAGES = st.sampled_from(["u1", "<u2", "<f4"]).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=2, max_dims=3, max_side=9))
)


@examples(200)
@given(image=IMAGES)
def test_an_image_comes_back_bit_for_bit(image: np.ndarray) -> None:
    spec = ImageSpec(shape=list(image.shape), dtype=image.dtype.name)
    assert unpack_image(pack_image(image.tobytes(), spec), image.nbytes) == image.tobytes()


def test_attempts_on_one_view_carry_its_image_once() -> None:
    depth = np.random.default_rng(0).integers(5000, 5100, (240, 240)).astype(np.uint16)
    scene = [encode_outcome(outcome(i, depth=depth)) for i in range(32)]
    body = pack_outcomes(scene)
    assert sorted(body) == [f"{IMAGE}0", TEXT]
    assert sum(map(len, body.values())) / 32 < 5_000
    back = unpack_outcomes(body)
    assert back == scene
    assert len({id(each.images["depth"]) for each in back}) == 1


def test_images_that_do_not_fit_their_description_travel_as_they_are() -> None:
    good = encode_outcome(outcome(0))
    odd = [EncodedOutcome("a", "grasp", b"{}", {"depth": b"abc"}), EncodedOutcome("b", "grasp", good.meta, {"depth": b"abc"})]
    assert unpack_outcomes(pack_outcomes(odd)) == odd


@examples(200)
@given(data=st.data())
def test_damaged_entries_are_unreadable_or_as_they_were(data: st.DataObject) -> None:
    scene = [encode_outcome(outcome(i)) for i in range(2)]
    body = pack_outcomes(scene)
    name = data.draw(st.sampled_from(sorted(body)))
    at = data.draw(st.integers(0, len(body[name]) - 1))
    damaged = {**body, name: body[name][:at] + data.draw(st.binary(max_size=3)) + body[name][at + 1 :]}
    with suppress(UnreadableOutcome):
        assert [each.id for each in unpack_outcomes(damaged)]


@pytest.mark.parametrize("field", [TEXT, f"{IMAGE}0"])
def test_what_would_unpack_to_too_much_is_refused_without_unpacking_it(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.streams.outcome_batches.MOST_BYTES", 2**20)
    bomb = zlib.compress(bytes(2**26), 1)
    image = b"d2\x02" + np.array([2**12, 2**13], "<u4").tobytes() + bomb
    body = {TEXT: zlib.compress(b""), field: bomb if field == TEXT else image}
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableOutcome, match="expected at most"):
            unpack_outcomes(body)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    client = connect(redis_url)
    client.flushall()
    return client


def test_a_scene_is_delivered_outcome_by_outcome_with_its_numbers(client: redis.Redis) -> None:
    stream = OutcomeStream(client)
    scene = [outcome(i) for i in range(3)]
    assert send_scene(stream, scene, "w", 5) == 3
    assert send_scene(stream, scene, "w", 5) == 0
    [entry] = stream.read("a")
    assert [each.encoded.id for each in entry.outcomes] == [each.id for each in scene]
    assert [each.sender for each in entry.outcomes] == [("w", 5), ("w", 6), ("w", 7)]
    assert stream.sent() == {"w": 3}


def test_all_of_what_is_handed_over_together_is_added_or_nothing(client: redis.Redis) -> None:
    sender, stream = OutcomeSender(client), OutcomeStream(client)
    batches = [_batch("w", number) for number in (1, 2)]
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(redis.RedisError):
            sender.publish(batches)
    finally:
        client.config_set("maxmemory", "0")
    assert stream.sent() == {}
    assert sender.publish(batches) == 2
    assert [each.sender for entry in stream.read("a") for each in entry.outcomes] == [("w", 1), ("w", 2)]


def test_workers_spread_over_the_streams_and_each_keeps_to_one(client: redis.Redis) -> None:
    sender = OutcomeSender(client, streams=4)
    for worker in range(40):
        sender.publish([_batch(f"w{worker}", number) for number in (1, 2)])
    seen = [{each.sender[0] for entry in OutcomeStream(client, name).read("a", 100) for each in entry.outcomes if each.sender}
            for name in stream_names(4)]  # fmt: skip
    assert all(seen)
    assert sum(map(len, seen)) == len(set().union(*seen)) == 40
    again = OutcomeSender(client, streams=7)  # what was sent before their number changed is known still
    assert sum(again.publish([_batch(f"w{worker}", 2)]) for worker in range(40)) == 0


@pytest.mark.parametrize(
    "changes", [{b"worker": b""}, {b"first": b"0"}, {b"first": b"x"}, {b"count": b"2"}, {b"count": b"-1"}, {b"outcomes": b"x"}]
)
def test_an_entry_that_is_no_scene_says_why(client: redis.Redis, changes: dict[bytes, bytes]) -> None:
    fields = {name.encode(): value for name, value in _batch("w", 1).fields().items()}
    client.xadd("grasp:outcomes", fields | changes)  # type: ignore[arg-type]
    [entry] = OutcomeStream(client).read("a")
    assert entry.outcomes == []
    assert "outcomes of a scene" in (entry.error or "")


def _batch(worker: str, first: int) -> OutcomeBatch:
    return OutcomeBatch(worker, first, 1, pack_outcomes([encode_outcome(outcome(first))]))
