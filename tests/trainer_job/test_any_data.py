"""No thread of the trainer dies of data: whatever lies in queue, shards, registry and files, it works, counts and goes on."""

from __future__ import annotations

import copy
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from block_world import block_outcome
from hypothesis import example, given
from hypothesis import strategies as st
from properties import examples
from records import store

from grasp_client.contract import SceneRef
from inference_server.batching.batcher import Batcher
from inference_server.metrics import Metrics
from inference_server.models.weights import Weights
from planning.networks.device import Execution, pick_device
from planning.networks.loading import Loader
from shared.outcome_codec import encode_outcome
from shared.registry import ModelCard, Registry, RegistryError
from shared.settings import TrainerSettings
from shared.shards import ShardReader, shard_folders
from shared.streams import TRAINERS, OutcomeStream, SceneRequestStream, WorkerStatusStore, connect
from shared.streams.worker_status import WORKERS
from trainer_job.promotion.publish import weights_of
from trainer_job.promotion.registry_commands import COMMANDS
from trainer_job.service import trainer as trainer_module
from trainer_job.service.trainer import Trainer
from trainer_job.tasks import task_of_model
from trainer_job.training.distributed import SINGLE

TASK = task_of_model("dense")
NUMBERS = [0, -0.0, -1, 1, 2, 1e-300, 1e-9, 0.02, 0.5, 99.0, 1e6, 1e30, 3e38, -3e38, 1e300, 2**31, 2**63, -(2**63)]
EXTREMES = st.sampled_from([*NUMBERS, float("nan"), float("inf")])
VALUES = st.recursive(
    st.none() | st.booleans() | EXTREMES | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
RAW = st.binary(max_size=60) | VALUES.map(json.dumps).map(str.encode)
META = json.loads(encode_outcome(block_outcome(0)).meta)
CARD = ModelCard(
    name="dense", architecture="dense", parameters=TASK.recipe.parameters, parent=1,
    outcomes={"total": 3, "count": 3}, metrics={"ap": 0.5},
    calibration={"kind": "temperature", "value": 1.2}, simulated={"attempts": 3, "rate": 0.4},
    comparison={"outcomes": 100, "difference": -0.1, "standard_error": 0.01}, view={"focal_px": 500.0},
    decisions=[{"action": "promoted", "trial": {"until_shard": 3}}],
).model_dump(mode="json")  # fmt: skip


def paths_of(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Where in a JSON value there is something."""
    if path:
        yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from paths_of(value[key], (*path, key))


@st.composite
def odd(draw: st.DrawFn, whole: Any, most: int = 3) -> Any:
    """A JSON value with some parts replaced by anything, or gone."""
    changed = copy.deepcopy(whole)
    for path in draw(st.lists(st.sampled_from(list(paths_of(whole))), min_size=1, max_size=most)):
        part = changed
        try:
            for key in path[:-1]:
                part = part[key]
            if draw(st.integers(0, 5)) == 0:
                del part[path[-1]]
            else:
                part[path[-1]] = draw(EXTREMES | VALUES)
        except (KeyError, IndexError, TypeError):  # an earlier change has taken it
            continue
    return changed


POINTERS = ["champion", "previous", "candidate", "ab_test.json"]
DEPTHS = st.sampled_from([0.0, 0.6, -1.0, 1e-30, 3e38, np.nan, np.inf, 65.0])


@st.composite
def entries(draw: st.DrawFn) -> dict[bytes, bytes]:
    """Of the stream of outcomes: some fit, most are odd in some way."""
    number = draw(st.integers(0, 20))
    depth = block_outcome(number).images["depth"].copy()
    depth[draw(st.integers(0, 90)) :, :] = draw(DEPTHS)
    scene = SceneRef(seed=draw(st.integers(0, 2**63 - 1)), ticket=draw(st.none() | st.text(max_size=20)))
    fields = {k.encode(): v for k, v in encode_outcome(block_outcome(number, scene=scene)).fields().items()}
    fields[b"depth"] = depth.tobytes()
    meta = json.loads(fields[b"meta"])
    fields[b"meta"] = json.dumps(draw(st.just(meta) | odd(meta))).encode()
    if draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from([b"v", b"id", b"kind", b"meta", b"depth", b"more"]))
        fields[name] = draw(RAW)
    if draw(st.integers(0, 9)) == 0:
        fields = {draw(st.binary(min_size=1, max_size=5)): draw(RAW)}
    return fields


@pytest.fixture(scope="module", autouse=True)
def no_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "TURN_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def weights() -> bytes:
    return weights_of(TASK.build())


def trainer_of(url: str, data: Path) -> Trainer:
    settings = TrainerSettings(
        redis_url=url, data_dir=data, models_dir=data / "models", shipped_models_dir=data / "none", shard_outcomes=4,
        shard_seconds=1e-3, outcomes_per_round=10**6, outstanding_requests=3,
    )  # fmt: skip
    data.mkdir(exist_ok=True)
    return Trainer(settings, SINGLE, threading.Event())


def work(url: str, data: Path) -> Trainer:
    """A start, what each thread does until the queue is empty, and the same again as after a restart."""
    for _ in range(2):
        trainer = trainer_of(url, data)
        stream = trainer.ingest.ingests[0].stream
        trainer.ingest.ingests[0].step(block_ms=1)
        while stream.lag() or stream.pending():
            trainer.ingest.ingests[0].step(block_ms=1)
        for _ in range(2):
            trainer.coordinator.turn()
            trainer._turn_or_repair()
        assert str(trainer.troubles) == ""
        assert trainer.coordinator.status()["champion"] is not None
        places = np.arange(len(trainer.replay))
        assert np.isfinite(trainer.replay.examples(places).features.astype(np.float32)).all()
    return trainer


@pytest.fixture
def queue(queue_server: Any) -> redis.Redis:
    return connect(queue_server.url)


@examples(15)
@given(sent=st.lists(entries(), min_size=1, max_size=8))
def test_every_entry_is_stored_or_a_dead_letter(queue_server: Any, sent: list[dict[bytes, bytes]]) -> None:
    with connect(queue_server.url) as client, tempfile.TemporaryDirectory() as folder:
        client.flushall()
        stream = OutcomeStream(client)
        for fields in sent:
            client.xadd(stream.stream, fields)
        trainer = work(queue_server.url, Path(folder) / "data")
        ingest = trainer.ingest.ingests[0]
        dead = client.xlen(stream.dead)
        stored = sum(len(ShardReader(folder)) for folder in shard_folders(ingest.directory))
        assert stored + dead <= len(sent)
        assert stored + dead >= len({fields.get(b"id") for fields in sent})
        assert len(trainer.replay) + trainer.replay.refused.total() <= stored


@examples(15)
@given(
    lines=st.lists(odd({"id": "x", "kind": "grasp", "at": {"depth": 0}, "digests": {}, "meta": META}), min_size=1, max_size=5),
    damage=st.lists(
        st.tuples(st.sampled_from(["index.json", "outcomes.jsonl", "images.bin"]), st.integers(0, 4000), RAW), max_size=2
    ),
    features=RAW,
)
@example(lines=[{"kind": "grasp"}], damage=[], features=b"PK\x03\x04")
def test_whatever_lies_in_a_shard_the_rest_is_read(
    queue_server: Any, lines: list, damage: list[tuple[str, int, bytes]], features: bytes
) -> None:
    with connect(queue_server.url) as client, tempfile.TemporaryDirectory() as folder:
        client.flushall()
        data = Path(folder) / "data"
        shards = data / "shards"
        store(shards, [block_outcome(1)])
        store(shards, [block_outcome(100 + k) for k in range(len(lines))])
        store(shards, [block_outcome(2)])
        shard = shards / "shard-000002"
        (shard / "outcomes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        ids = [line.get("id", "x") if isinstance(line, dict) else "x" for line in lines]
        kinds = [line.get("kind", "grasp") if isinstance(line, dict) else "grasp" for line in lines]
        (shard / "index.json").write_text(json.dumps({"v": 2, "ids": ids, "kinds": kinds}))
        for name, place, found in damage:
            with open(shard / name, "r+b") as file:
                file.seek(place)
                file.write(found)
                if place % 3 == 0:
                    file.truncate(place)
        trainer = work(queue_server.url, data)
        learnable = {record.id for record in trainer.replay.records}
        assert {"w:1:0", "w:2:0"} <= learnable
        assert [shard_folders(shards)[end].name for end in (0, -1)] == ["shard-000001", "shard-000003"]
        for path in (data / "features").rglob("*.npy"):
            path.write_bytes(features)
        assert learnable == {record.id for record in work(queue_server.url, data).replay.records}


@examples(15)
@given(
    cards=st.lists(st.none() | RAW | odd(CARD).map(json.dumps).map(str.encode), min_size=1, max_size=4),
    pointers=st.dictionaries(
        st.sampled_from(["champion", "previous", "candidate", "ab_test.json"]),
        RAW | st.sampled_from([b"1", b"2", b"3\n", b"9"]),
    ),
    cut=st.none() | st.integers(0, 100),
)
def test_whatever_lies_in_the_registry_a_version_is_found(
    queue_server: Any, weights: bytes, cards: list[bytes | None], pointers: dict[str, bytes], cut: int | None
) -> None:
    with connect(queue_server.url) as client, tempfile.TemporaryDirectory() as folder:
        client.flushall()
        data = Path(folder) / "data"
        registry = Registry(data / "models")
        for card in cards:
            version = registry.publish("dense", weights, ModelCard.model_validate({**CARD, "decisions": []}))
            if card is not None:
                (registry.root / "dense" / str(version) / "card.json").write_bytes(card)
        registry._point("dense", "champion", 1)
        for pointer, found in pointers.items():
            (registry.root / "dense" / pointer).write_bytes(found)
        if cut is not None:
            os.truncate(registry.weights_path("dense", len(cards)), cut)
        served(registry)
        work(queue_server.url, data)
        assert registry.fault("dense") is None
        assert served(registry) == registry.champion("dense")


def served(registry: Registry) -> int | None:
    """What a server serves."""
    batcher = Batcher(4, Metrics())
    batcher.start()
    following = Weights(
        Loader(registry, {"dense": "dense"}, Execution(pick_device("cpu"))), batcher.between_batches, Metrics(), 0.02, None
    )
    try:
        following.look("dense")
    except RegistryError:
        pass
    finally:
        batcher.close(0)
    return following.versions().get("dense")


@examples(15)
@given(
    counter=RAW,
    key=st.binary(max_size=40),
    commands=st.lists(
        RAW | odd({"action": "promote", "name": "dense", "version": 1}).map(json.dumps).map(str.encode), max_size=8
    ),
    rows=st.dictionaries(st.binary(max_size=6), RAW | odd({"time": 1.0, "asks": True}).map(json.dumps).map(str.encode)),
    requests=st.lists(RAW, max_size=4),
)
def test_whatever_files_commands_and_boards_hold_it_works(
    queue_server: Any, counter: bytes, key: bytes, commands: list[bytes], rows: dict[bytes, bytes], requests: list[bytes]
) -> None:
    with connect(queue_server.url) as client, tempfile.TemporaryDirectory() as folder:
        client.flushall()
        data = Path(folder) / "data"
        data.mkdir()
        (data / "scene_requests.json").write_bytes(counter)
        (data / "scene_requests.key").write_bytes(key)
        for command in commands:
            client.rpush(COMMANDS, command)
        for name, row in rows.items():
            client.hset(WORKERS, name, row)
            client.hset(TRAINERS, name, row)
        stream = SceneRequestStream(client)
        for request in requests:
            client.xadd(stream.stream, {"ticket": request})
        work(queue_server.url, data)
        assert client.llen(COMMANDS) == 0
        assert WorkerStatusStore(client, TRAINERS).read()["trainer"]["asks"] is True
        while stream.lag():
            stream.take("w", block_ms=1)


@pytest.mark.parametrize("odd_type", ["string", "list", "hash", "stream"])
def test_keys_of_any_type_end_nothing(queue_server: Any, tmp_path: Path, odd_type: str) -> None:
    with connect(queue_server.url) as client:
        client.flushall()
        make = {"string": client.set, "list": client.rpush, "hash": lambda k, v: client.hset(k, v, v)}
        make["stream"] = lambda key, value: client.xadd(key, {value: value})
        outcomes = OutcomeStream(client)
        keys = [outcomes.stream, outcomes.dead, SceneRequestStream(client).stream, COMMANDS, WORKERS, TRAINERS]
        for key in keys:
            make[odd_type](key, "odd")
        trainer = work(queue_server.url, tmp_path / "data")
        assert "trainer" in WorkerStatusStore(client, TRAINERS).read()
        assert trainer.ingest.ingests[0].dead_letters <= 1
