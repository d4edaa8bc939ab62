"""Outcomes of any kind go from the worker's outbox over the queue into shards, by code that does not know the kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from block_world import block_outcome

from grasp_client.contract import GraspMeta, ImageSpec, Outcome, Push, PushMeta, SceneRef
from shared.outcome_codec import EncodedOutcome, decode_outcome, encode_outcome
from shared.shards import ShardReader, shard_folders, text_of
from shared.streams import OutcomeSender, OutcomeStream, connect
from sim_worker.worker.outbox import Outbox
from sim_worker.worker.publisher import OutboxPublisher
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.data.replay_buffer import ReplayBuffer
from trainer_job.ingest.ingest import Ingest
from trainer_job.tasks import task_of_model


def push_outcome() -> Outcome[PushMeta]:
    start, end = np.eye(4), np.eye(4)
    end[0, 3] = 0.08
    images = {"depth": np.full((6, 8), 6000, np.uint16), "goal": np.eye(6, 8, dtype=np.uint8)}
    meta = PushMeta(
        push=Push(start_base=start.tolist(), end_base=end.tolist(), length=0.08, predicted_quality=0.6),
        planner="push",
        scene=SceneRef(seed=11, ticket="collect-11"),
        goal="block",
        quality_before=0.1,
        quality_after=0.8,
        moved=0.03,
        images={name: ImageSpec(shape=list(image.shape), dtype=image.dtype.name) for name, image in images.items()},  # type: ignore[attr-defined]
    )
    return Outcome(id="w:0:0", meta=meta, images=images)


def deliver(outcomes: list[EncodedOutcome], url: str, folder: Path) -> Ingest:
    """From an outbox over the queue into shards."""
    stream = OutcomeStream(connect(url))
    publisher = OutboxPublisher(Outbox(folder / "outbox", "w"), OutcomeSender(stream.client).publish)
    publisher.put(outcomes)
    publisher.deliver_waiting()
    ingest = Ingest(stream, folder / "shards", shard_outcomes=len(outcomes), shard_seconds=0.05)
    while stream.lag() or stream.pending():
        ingest.step(block_ms=20)
    return ingest


def test_a_push_arrives_as_it_was_encoded_and_no_network_of_grasps_takes_it(redis_url: str, tmp_path: Path) -> None:
    sent = push_outcome()
    deliver([encode_outcome(sent), encode_outcome(block_outcome(1))], redis_url, tmp_path)
    (shard,) = shard_folders(tmp_path / "shards")
    reader = ShardReader(shard)
    assert reader.kinds == ["push", "grasp"]
    back = reader[0]
    assert back.meta == sent.meta
    np.testing.assert_array_equal(back.images["goal"], sent.images["goal"])
    assert [outcome.id for _, outcome in reader.of_kind(GraspMeta)] == ["w:1:0"]
    library = ReplayBuffer(OutcomeIndex(tmp_path / "shards"), FeatureCache(tmp_path / "features", task_of_model("dense")))
    library.refresh()
    push, grasp = library.dataset.records
    assert (push.kind, push.success_label, push.on_policy) == ("push", None, False)
    assert (grasp.kind, grasp.success_label, grasp.on_policy) == ("grasp", block_outcome(1).meta.success, True)
    assert [entry.id for entry in library.records] == ["w:1:0"]
    assert library.refused == {"kind": 1}


def test_the_bytes_of_meta_are_those_that_the_worker_wrote(redis_url: str, tmp_path: Path) -> None:
    encoded = encode_outcome(push_outcome())
    deliver([encoded], redis_url, tmp_path)
    (line,) = b"".join(text_of(shard_folders(tmp_path / "shards")[0])).splitlines()
    assert encoded.meta in line


def test_an_unknown_kind_is_stored_and_counted_until_somebody_knows_it(redis_url: str, tmp_path: Path) -> None:
    known = encode_outcome(push_outcome())
    meta = {**json.loads(known.meta), "force": [1.0, 2.0]}
    unknown = EncodedOutcome("w:9:0", "poke", json.dumps(meta, indent=1).encode(), known.images)
    ingest = deliver([unknown, known], redis_url, tmp_path)
    assert ingest.unknown_kinds == {"poke": 1}
    assert ingest.dead_letters == 0
    reader = ShardReader(shard_folders(tmp_path / "shards")[0])
    assert reader.kinds == ["poke", "push"]
    assert reader[0].meta.model_extra["force"] == [1.0, 2.0]
    index = OutcomeIndex(tmp_path / "shards")
    assert [entry.kind for entry in index.refresh()] == ["poke", "push"]
    assert decode_outcome(known).meta == reader[1].meta
