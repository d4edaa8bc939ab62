"""What version 0.1.0 wrote (tests/data/v1) is read, taken in and learned from."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import redis

from shared.registry import Registry
from shared.settings import TrainerSettings
from shared.shards import ShardReader, shard_folders
from shared.streams import OutcomeSender, OutcomeStream, connect
from sim_worker.worker.outbox import Outbox
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.data.replay_buffer import ReplayBuffer
from trainer_job.ingest.ingest import Ingest
from trainer_job.promotion.publish import seed_registry
from trainer_job.tasks import task_of_model
from trainer_job.training.round import finish_round, plan_round, train_round

WRITTEN = Path(__file__).parent / "data" / "v1"
IN_SHARDS = [f"w-1:{episode}:{attempt}" for episode in (1, 2, 3) for attempt in range(3)] + ["w-1:4:0", "w-1:4:1", "w-1:5:0"]
IN_STREAM = ["w-1:6:0", "w-1:6:1", "w-1:7:0", "w-1:1:0"]
IN_SPOOL = ["w-1-18c5a:8:0", "w-1-18c5a:8:1", "w-2-18c5b:9:1", "w-2-18c5b:9:2"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy that may be written to."""
    shutil.copytree(WRITTEN, tmp_path / "data")
    return tmp_path / "data"


def queued(url: str) -> OutcomeStream:
    """A queue with the entries as they lay in one."""
    client: redis.Redis = connect(url)
    stream = OutcomeStream(client)
    for fields in json.loads((WRITTEN / "stream.json").read_bytes()):
        client.xadd(stream.stream, {name: base64.b64decode(value) for name, value in fields.items()})
    return stream


def test_shards_are_read_with_their_images(data: Path) -> None:
    readers = [ShardReader(folder) for folder in shard_folders(data / "shards")]
    outcomes = [outcome for reader in readers for outcome in reader]
    assert [outcome.id for outcome in outcomes] == [name for reader in readers for name in reader.ids()] == IN_SHARDS
    first, coloured = outcomes[0], outcomes[-1]
    assert first.images["depth"].shape == (36, 36)
    assert set(np.unique(first.images["depth"])) == {5600, 6000}
    assert first.meta.success  # type: ignore[attr-defined]
    assert first.meta.scene is not None
    assert first.meta.scene.ticket == "collect-1"
    assert coloured.images["rgb"].shape == (36, 36, 3)


def test_queue_entries_join_the_shards_once(redis_url: str, data: Path) -> None:
    stream = queued(redis_url)
    ingest = Ingest(stream, data / "shards", shard_outcomes=2, shard_seconds=0.05)
    while stream.lag() or stream.pending():
        ingest.step(block_ms=20)
    stored = [name for folder in shard_folders(data / "shards") for name in ShardReader(folder).ids()]
    assert stored == IN_SHARDS + IN_STREAM[:-1]
    assert ingest.duplicates == 1


def test_what_killed_workers_left_is_sent_on(redis_url: str, data: Path) -> None:
    outbox = Outbox(data / "spool", "w-3-new")
    assert outbox.claim_orphans() == len(IN_SPOOL)
    batches = [batch for _, batch in outbox.batches()]
    assert [outcome.id for batch in batches for outcome in batch.outcomes()] == IN_SPOOL
    assert [(batch.worker, batch.first) for batch in batches] == [
        ("w-1-18c5a", 1), ("w-1-18c5a", 2), ("w-2-18c5b", 2), ("w-2-18c5b", 3),
    ]  # fmt: skip
    stream = OutcomeStream(connect(redis_url))
    assert OutcomeSender(stream.client).publish(batches) == len(IN_SPOOL)
    assert stream.sent() == {"w-1-18c5a": 2, "w-2-18c5b": 2}
    assert outbox.claim_orphans() == 0, "once"
    assert not (data / "spool" / "w-1-18c5a").exists()
    assert [path.name for path in (data / "spool" / "w-2-18c5b").iterdir() if path.name != "lock"] == ["000000000001.aside"]


def test_a_round_learns_from_old_shards(data: Path, tmp_path: Path) -> None:
    task = task_of_model("dense")
    library = ReplayBuffer(OutcomeIndex(data / "shards"), FeatureCache(tmp_path / "features", task))
    library.refresh()
    assert [record.id for record in library.records] == IN_SHARDS[:9], "no grasp of a cup, no judge's trial"
    registry = Registry(tmp_path / "models")
    seed_registry(registry, tmp_path / "none", task, seed=0)
    plan = plan_round(library, registry, TrainerSettings(epochs=1, min_steps=10), "dense")
    network, curves = train_round(plan, registry, library.cache, library.dataset.directory)
    version = finish_round(plan, network, curves, library, registry, tmp_path / "runs")
    assert registry.card("dense", version).outcomes["total"] == 9
