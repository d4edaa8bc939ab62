"""Records, the held-out split, views on disk and the choice of what to replay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from block_world import block_outcome
from records import store
from scipy.spatial.transform import Rotation

from grasp_client.contract import Outcome, SceneRef
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex, in_service, is_held_out, scene_key
from trainer_job.data.replay_buffer import ReplayBuffer
from trainer_job.tasks import task_of_model
from trainer_job.tasks.base import depth_metres

TASK = task_of_model("dense")
CROPS = task_of_model("gqcnn-jaw")


def library_of(folder: Path, *batches: list[Outcome]) -> ReplayBuffer:
    for batch in batches:
        store(folder / "shards", batch)
    library = ReplayBuffer(OutcomeIndex(folder / "shards"), FeatureCache(folder / "features", TASK))
    library.refresh()
    return library


def test_a_tenth_of_the_scenes_is_held_out_and_always_the_same_ones() -> None:
    keys = [f"train/pile/{seed}" for seed in range(5_000)]
    held_out = [is_held_out(key) for key in keys]
    assert 0.08 < np.mean(held_out) < 0.12
    assert held_out[:8] == [is_held_out(key) for key in keys[:8]]
    assert next(seed for seed, held in enumerate(held_out) if held) == 6  # never to change: old cards rely on it


def test_all_attempts_of_a_scene_fall_on_the_same_side(tmp_path: Path) -> None:
    library = library_of(tmp_path, [block_outcome(i, k) for i in range(40) for k in range(2)])
    held_out = {record.scene.seed for record in library.records if record.scene and record.held_out}
    learned = {record.scene.seed for record in library.records if record.scene and not record.held_out}
    assert held_out
    assert not held_out & learned


def test_a_robots_attempts_without_a_scene_go_by_episode() -> None:
    assert scene_key("robot:7:0", None) == scene_key("robot:7:3", None) != scene_key("robot:8:0", None)
    assert scene_key("a:1:0", SceneRef(seed=3)) == scene_key("b:2:1", SceneRef(seed=3))


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
    assert cached.aux.shape == (1, 0)
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
    outcomes = [upright, tilted(1, 60), tilted(2, -60, "y"), tilted(3, 19), tilted(4, 21)]
    assert [CROPS.refusal(outcome.meta.model_dump(mode="json")) for outcome in outcomes] == [
        None, "approach", "approach", None, "approach",
    ]  # fmt: skip
    library = library_of(tmp_path, outcomes)
    assert [record.id for record in library.records] == ["w:0:0", "w:3:0", "w:4:0"]  # the hand's frame leans along
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
    library = library_of(tmp_path, [block_outcome(i) for i in range(60)], [block_outcome(i) for i in range(60, 100)])
    everything = library.training(1_000, seen=60, seed=0)
    assert not any(library.records[place].held_out for place in everything)
    some = library.training(40, seen=60, seed=0)
    assert len(some) == len(set(some)) == 40
    assert sum(some >= 60) == 20
    assert some.tolist() == library.training(40, seen=60, seed=0).tolist() != library.training(40, seen=60, seed=1).tolist()
    assert len(library.training(40, seen=0, seed=0)) == 40
    assert set(library.held_out()) | set(everything) == set(range(100))


def test_success_in_service_counts_only_best_grasps_of_that_version(tmp_path: Path) -> None:
    outcomes = [
        block_outcome(0, success=True),
        block_outcome(1, success=False),
        block_outcome(2, success=True, exploration=True),
        block_outcome(3, success=True, rank=2),
        block_outcome(4, success=True, scene=SceneRef(seed=4, ticket="judge-2-1-champion")),
        block_outcome(5, success=True, model={"name": "dense", "version": 2}),
        block_outcome(6, success=True, scene=SceneRef(seed=6, ticket="revisit-7")),
    ]
    library = library_of(tmp_path, outcomes)
    assert [r.success for r in in_service(library.dataset.records, "dense", 1)] == [True, False]
