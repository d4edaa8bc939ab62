"""Records, the held-out split, views on disk and the choice of what to replay."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from block_world import Means, block_outcome
from records import store
from scipy.spatial.transform import Rotation

from grasp_client.contract import Outcome, SceneRef, SceneRequest
from shared.outcome_codec import depth_metres, encode_outcome
from shared.shards import ShardWriter
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import IndexEntry, OutcomeIndex, is_held_out, scene_key
from trainer_job.data.replay_buffer import ReplayBuffer
from trainer_job.data.sources import Sources
from trainer_job.promotion.evidence import RequestSigner, ServiceRecord
from trainer_job.tasks import task_of_model

TASK = task_of_model("dense")
CROPS = task_of_model("gqcnn-jaw")


def library_of(folder: Path, *batches: list[Outcome], task: Any = TASK) -> ReplayBuffer:
    for batch in batches:
        store(folder / "shards", batch)
    library = ReplayBuffer(OutcomeIndex(folder / "shards"), FeatureCache(folder / "features", task))
    library.refresh()
    return library


def test_a_tenth_of_the_scenes_is_held_out_and_always_the_same_ones() -> None:
    keys = [f"train/pile/{seed}" for seed in range(5_000)]
    held_out = [is_held_out(key) for key in keys]
    assert 0.08 < np.mean(held_out) < 0.12
    assert held_out[:8] == [is_held_out(key) for key in keys[:8]]
    assert next(seed for seed, held in enumerate(held_out) if held) == 6  # never to change: old cards rely on it


def test_all_attempts_of_a_scene_fall_on_the_same_side(tmp_path: Path) -> None:
    library = library_of(tmp_path, [block_outcome(i, k) for i in range(40) for k in range(2)], task=Means())
    held_out = {record.scene.seed for record in library.records if record.scene and record.held_out}
    learned = {record.scene.seed for record in library.records if record.scene and not record.held_out}
    assert held_out
    assert not held_out & learned


def test_attempts_in_one_simulated_scene_belong_together() -> None:
    keys = {scene_key(block_outcome(k, scene=SceneRef(seed=3), group=f"{k}").meta, str) for k in range(3)}
    assert keys == {"train/single/3"}


def robot_outcome(number: int, **meta: object) -> Outcome:
    """As a robot reports it over HTTP."""
    return block_outcome(number, worker="cell3", **{"scene": None, "source": "arm-3", **meta})


def test_a_robots_attempts_are_held_out_by_group_else_plan_else_image(tmp_path: Path) -> None:
    """Ids that begin alike are no scene: four hundred reports `cell3:0` ... `cell3:399` were one, all held out or none."""
    images = [robot_outcome(k) for k in range(400)]
    plans = [robot_outcome(k, request_id=f"plan-{k}") for k in range(400, 800)]
    groups = [robot_outcome(k, group=f"bin-{k % 2}", request_id=f"plan-{k}") for k in range(800, 1000)]
    index = OutcomeIndex(tmp_path / "shards")
    for batch in (images, plans, groups):
        outcomes = [outcome.model_copy(update={"id": f"cell3:{k}"}) for k, outcome in enumerate(batch)]
        store(index.directory, outcomes)
        held_out = [record.held_out for record in index.refresh()]
        if batch is groups:
            assert len(set(held_out[::2])) == len(set(held_out[1::2])) == 1
        else:
            assert 20 < sum(held_out) < 65
    again = [robot_outcome(k).model_copy(update={"id": f"other:{k}"}) for k in range(400)]
    store(index.directory, again)
    assert [record.held_out for record in index.refresh()] == [record.held_out for record in index.records[:400]]


def test_what_is_older_than_sources_that_are_stamped_has_none(tmp_path: Path) -> None:
    """A robot of version 0.1.0 called itself what it liked."""
    outcome = encode_outcome(robot_outcome(0))
    meta = json.loads(outcome.meta)
    assert meta.pop("served") is False
    ShardWriter(tmp_path / "shards").write([replace(outcome, meta=json.dumps(meta).encode())])
    index = OutcomeIndex(tmp_path / "shards")
    assert [record.source for record in index.refresh()] == [""]


def test_a_dataset_reads_only_what_is_new(tmp_path: Path) -> None:
    library = library_of(tmp_path, [block_outcome(0), block_outcome(1)])
    assert len(library) == 2
    store(tmp_path / "shards", [block_outcome(2)])
    assert [record.id for record in library.dataset.refresh()] == ["w:2:0"]
    library.refresh()
    assert [record.id for record in library.records] == ["w:0:0", "w:1:0", "w:2:0"]


def test_trials_of_ab_tests_and_what_cannot_be_learned_from_are_left_out(tmp_path: Path) -> None:
    compared = block_outcome(1, scene=SceneRef(seed=1, ticket="judge-3-4-candidate"))
    unreachable = block_outcome(2, success=False, failure="unreachable")
    pushed = block_outcome(3, contact_rule="allowed")
    library = library_of(tmp_path, [block_outcome(0), compared, unreachable, pushed, block_outcome(4, camera=None)])
    assert [record.id for record in library.records] == ["w:0:0"]
    assert len(library.dataset) == 5
    assert library.refused == {"unreachable": 1, "contact_rule": 1, "no_metric_pose": 1}


def test_features_are_computed_once_and_again_when_the_shard_is_another(tmp_path: Path) -> None:
    library = library_of(tmp_path, [block_outcome(0, 0), block_outcome(1, 0)])
    stored = tmp_path / "features" / TASK.spec.name / "shard-000001" / "features.npy"
    before = stored.stat().st_mtime_ns
    cached = library.cache.load(tmp_path / "shards" / "shard-000001")
    assert (cached.features.shape, cached.features.dtype, cached.rows.tolist()) == ((2, *TASK.spec.shape), np.float16, [0, 1])
    assert stored.stat().st_mtime_ns == before
    other = store(tmp_path / "others", [block_outcome(9)])
    cached = library.cache.load(other)
    assert cached.aux.shape == (1, TASK.spec.aux)
    assert (len(cached.features), cached.rows.tolist()) == (1, [0])


def test_features_show_the_block_between_the_fingers(tmp_path: Path) -> None:
    library = library_of(tmp_path, [block_outcome(i, success=None) for i in range(30)])
    held = library.examples(np.arange(30))
    middle = held.features[:, 0, 11:13, 19:21].astype(float).mean((1, 2))
    assert middle[held.labels == 1].min() > middle[held.labels == 0].max()


def test_an_image_without_a_reading_has_no_features(tmp_path: Path) -> None:
    blind = block_outcome(1)
    blind.images["depth"] = np.full_like(blind.images["depth"], np.nan)
    library = library_of(tmp_path, [block_outcome(0), blind])
    assert [record.id for record in library.records] == ["w:0:0"]
    assert library.refused == {"unreadable": 1}


def test_depth_is_in_metres_without_unread_pixels() -> None:
    outcome = block_outcome(0)
    outcome.images["depth"][0, :3] = [np.nan, np.inf, -1]
    outcome.meta.images["depth"].scale = 0.5
    depth = depth_metres(outcome)
    assert depth[0, :3].tolist() == [0, 0, 0]
    assert depth[0, 3] == pytest.approx(0.3)


def tilted(episode: int, degrees: float, axis: str = "x") -> Outcome:
    """The same grasp with an approach that leans from the optical axis, the tips where they were."""
    outcome = block_outcome(episode)
    pose = np.array(outcome.meta.grasp.pose_camera)
    lean = np.eye(4)
    lean[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    tips = pose[:3, 3] + outcome.meta.gripper.tcp_offset * pose[:3, 2]
    pose[:3, :3] = lean[:3, :3] @ pose[:3, :3]
    pose[:3, 3] = tips - outcome.meta.gripper.tcp_offset * pose[:3, 2]
    grasp = outcome.meta.grasp.model_copy(update={"pose_camera": pose.tolist()})
    return outcome.model_copy(update={"meta": outcome.meta.model_copy(update={"grasp": grasp})})


def test_an_approach_that_the_features_do_not_show_is_refused_and_counted(tmp_path: Path) -> None:
    """A jaw that comes in at 60 degrees looks to a network on crops like a vertical one: nothing may be learned from it."""
    upright, tipped = block_outcome(0), tilted(0, 60)
    np.testing.assert_allclose(CROPS.features([upright])[0], CROPS.features([tipped])[0], atol=1e-5)
    outcomes = [upright, tilted(1, 100), tilted(2, -100, "y"), tilted(3, 19), tilted(4, 21)]
    assert [CROPS.refusal(outcome.meta.model_dump(mode="json")) for outcome in outcomes] == [
        None, "approach", "approach", None, "approach",
    ]  # fmt: skip
    library = library_of(tmp_path, outcomes)
    assert [record.id for record in library.records] == ["w:0:0", "w:3:0", "w:4:0"]  # what comes from above level is seen
    assert library.refused == {"approach": 2}


def test_down_is_where_gravity_points_not_where_the_camera_looks() -> None:
    oblique = Rotation.from_euler("x", 150, degrees=True).as_matrix()  # 30 degrees from straight down
    camera_pose = np.eye(4)
    camera_pose[:3, :3] = oblique
    along, vertical = block_outcome(0), tilted(0, 30)
    for outcome, reason in ((along, "approach"), (vertical, None)):
        outcome.meta.camera_pose = camera_pose.tolist()
        assert CROPS.refusal(outcome.meta.model_dump(mode="json")) == reason
    base = {**along.meta.model_dump(mode="json"), "camera_pose": None}
    assert CROPS.refusal(base) is None
    base["grasp"]["pose_base"] = (camera_pose @ np.array(along.meta.grasp.pose_camera)).tolist()
    assert CROPS.refusal(base) == "approach"


def test_replay_mixes_new_and_old_outcomes_of_learning_scenes(tmp_path: Path) -> None:
    library = library_of(
        tmp_path, [block_outcome(i) for i in range(60)], [block_outcome(i) for i in range(60, 100)], task=Means()
    )
    everything = library.training(1_000, seen=60, seed=0)
    assert not any(library.records[place].held_out for place in everything)
    some = library.training(40, seen=60, seed=0)
    assert len(some) == len(set(some)) == 40
    assert sum(some >= 60) == 20
    assert some.tolist() == library.training(40, seen=60, seed=0).tolist() != library.training(40, seen=60, seed=1).tolist()
    assert len(library.training(40, seen=0, seed=0)) == 40
    assert set(library.held_out()) | set(everything) == set(range(100))


SIGNER = RequestSigner(bytes(32))


def request_of(name: str) -> SceneRequest | None:
    number = name.removeprefix("collect-")
    return SIGNER.sign(SceneRequest(id=name, seed=int(number), attempts=2)) if number.isdecimal() else None


def asked(number: int, **changes: object) -> SceneRef:
    """The scene of an attempt that the trainer asked for."""
    request = request_of(f"collect-{number}")
    assert request
    ref = SceneRef(seed=number, kind=request.kind, profile=request.profile, ticket=request.id, nonce=request.nonce)
    return ref.model_copy(update=changes)


def service_of(outcomes: list[Outcome], folder: Path, trusted: str = "arm-3") -> ServiceRecord:
    store(folder / "shards", outcomes)
    service = ServiceRecord("dense", SIGNER, request_of, Sources(trusted, 0.3))
    service.learn(OutcomeIndex(folder / "shards").refresh())
    return service


def test_success_in_service_counts_only_best_grasps_in_scenes_that_were_asked_for(tmp_path: Path) -> None:
    outcomes = [
        block_outcome(0, success=True, scene=asked(0)),
        block_outcome(1, success=False, scene=asked(1)),
        block_outcome(2, success=True, exploration=True, scene=asked(2)),
        block_outcome(3, success=True, rank=2, scene=asked(3)),
        block_outcome(4, success=True, scene=asked(4, ticket="judge-dense-2-1-champion")),
        block_outcome(5, success=True, model={"name": "dense", "version": 2}, scene=asked(5)),
        block_outcome(6, success=True, scene=asked(6, ticket="revisit-6")),
        block_outcome(7, success=True, scene=asked(7, nonce=None)),
        block_outcome(8, success=True, scene=asked(8, nonce=asked(7).nonce)),
        block_outcome(9, success=True, scene=asked(9, seed=10)),
        block_outcome(10, success=True, scene=asked(10, profile="clean")),
        block_outcome(11, success=True, scene=SceneRef(seed=11)),
        *(block_outcome(12, attempt, success=True, scene=asked(12)) for attempt in range(50)),  # it was asked for two
    ]
    service = service_of(outcomes, tmp_path)
    assert [r.success for r in service.simulated[1]] == [True, False, True, True]
    assert [r.success for r in service.simulated[2]] == [True]
    assert not service.served


def test_of_robots_the_first_outcome_of_each_recorded_plan_counts_if_the_source_is_trusted(tmp_path: Path) -> None:
    def served(number: int, **meta: object) -> Outcome:
        return robot_outcome(number, **{"served": True, "request_id": f"plan-{number}", **meta})

    outcomes = [
        served(0, success=True),
        served(1, success=False),
        served(2, success=True, request_id="plan-1"),
        served(3, success=True, rank=1),
        served(4, success=True, exploration=True),
        served(5, success=True, served=False),
        served(6, success=True, source="local"),
        served(7, success=True, model={"name": "dense", "version": 2}),
        served(8, success=True, model=None),
        served(9, success=True, scene=asked(9)),
    ]
    service = service_of(outcomes, tmp_path / "named")
    assert {version: [r.success for r in its] for version, its in service.served.items()} == {1: [True, False], 2: [True]}
    assert len(service.simulated[1]) == 1
    assert not service_of(outcomes, tmp_path / "nobody", trusted="").served
    assert len(service_of(outcomes, tmp_path / "all", trusted="*").served[1]) == 3


def test_a_source_that_is_not_trusted_teaches_within_its_share_and_decides_nothing(tmp_path: Path) -> None:
    simulated = [block_outcome(k) for k in range(70)]
    robots = [robot_outcome(k, request_id=f"p{k}", source="local" if k % 3 else "arm-3") for k in range(100, 400)]
    store(tmp_path / "shards", [*simulated, *robots])

    def replay(trusted: str) -> ReplayBuffer:
        cache = FeatureCache(tmp_path / "features", Means())
        buffer = ReplayBuffer(OutcomeIndex(tmp_path / "shards"), cache, Sources(trusted, 0.3))
        buffer.refresh()
        return buffer

    nobody, named, everybody = replay(""), replay("arm-3"), replay("*")
    for most in (1_000, 60):
        records = [nobody.records[place] for place in nobody.training(most, seen=70, seed=0)]
        counts = Counter(record.source if record.scene is None else "simulation" for record in records)
        assert counts["simulation"] >= min(60, most) * 0.3
        assert max(counts["local"], counts["arm-3"]) <= 0.3 * counts.total()
    records = [named.records[place] for place in named.training(1_000, seen=0, seed=0)]
    counts = Counter(record.source for record in records if record.scene is None)
    assert counts["arm-3"] > 75
    assert 0.25 * len(records) < counts["local"] <= 0.3 * len(records)
    assert len(everybody.training(1_000, seen=0, seed=0)) + len(everybody.held_out()) == 370
    held_out = {buffer: {buffer.records[place].source for place in buffer.held_out()} for buffer in (nobody, named, everybody)}
    assert list(held_out.values()) == [{""}, {"", "arm-3"}, {"", "arm-3", "local"}]
    places = everybody.training(1_000, seen=0, seed=0)
    shares = everybody.select(places).sources
    assert shares["simulation"] == pytest.approx(1 - sum(shares["robots"].values()), abs=1e-3)
    assert shares["robots"]["local"] == pytest.approx(0.6, abs=0.1)


def test_untrusted_sources_alone_teach_nothing() -> None:
    entry = IndexEntry("a", "shard-000001", 0, True, 0.0, None, "dense", "dense", 1, 0.5, 0, False, False, "grasp", "local")
    nobody = Sources("", 0.3)
    assert nobody.usable([entry] * 50) == 0
    assert len(nobody.limit([entry] * 50, np.arange(50))) == 0
    mixed = [*[entry] * 50, *[replace(entry, scene=SceneRef(seed=1))] * 7]
    assert nobody.usable(mixed) == 10
    assert nobody.limit(mixed, np.arange(57)).tolist() == [47, 48, 49, *range(50, 57)]
    assert Sources("arm-3, local", 0.3).usable(mixed) == 57
