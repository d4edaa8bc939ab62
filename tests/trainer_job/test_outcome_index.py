"""Records, the held-out split, views on disk and the choice of what to replay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from block_world import block_outcome
from records import store

from grasp_client.contract import Outcome, SceneRef
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex, in_service, is_held_out, scene_key
from trainer_job.data.replay_buffer import ReplayBuffer
from trainer_job.tasks.base import depth_metres
from trainer_job.tasks.registry import LEARNERS

LEARNER = LEARNERS["dense"]


def library_of(folder: Path, *batches: list[Outcome]) -> ReplayBuffer:
    for batch in batches:
        store(folder / "shards", batch)
    library = ReplayBuffer(OutcomeIndex(folder / "shards"), FeatureCache(folder / "views", LEARNER))
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


def test_judges_trials_and_what_cannot_be_learned_from_are_left_out(tmp_path: Path) -> None:
    judged = block_outcome(1, scene=SceneRef(seed=1, ticket="judge-3-4-candidate"))
    unreachable = block_outcome(2, success=False, failure="unreachable")
    pushed = block_outcome(3, contact_rule="allowed")
    library = library_of(tmp_path, [block_outcome(0), judged, unreachable, pushed, block_outcome(4, camera=None)])
    assert [record.id for record in library.records] == ["w:0:0"]
    assert len(library.dataset) == 5


def test_views_are_computed_once_and_again_when_the_shard_is_another(tmp_path: Path) -> None:
    library = library_of(tmp_path, [block_outcome(0, 0), block_outcome(1, 0)])
    stored = tmp_path / "views" / LEARNER.view_name / "shard-000001" / "views.npy"
    before = stored.stat().st_mtime_ns
    views, facts, rows = library.cache.load(tmp_path / "shards" / "shard-000001")
    assert (views.shape, views.dtype, rows.tolist()) == ((2, *LEARNER.view_shape), np.float16, [0, 1])
    assert stored.stat().st_mtime_ns == before
    other = store(tmp_path / "others", [block_outcome(9)])
    views, facts, rows = library.cache.load(other)
    assert facts.shape == (1, 0)
    assert (len(views), rows.tolist()) == (1, [0])


def test_a_view_shows_the_block_between_the_fingers(tmp_path: Path) -> None:
    library = library_of(tmp_path, [block_outcome(i, success=None) for i in range(30)])
    held = library.examples(np.arange(30))
    middle = held.views[:, 0, 11:13, 19:21].astype(float).mean((1, 2))
    assert middle[held.labels == 1].min() > middle[held.labels == 0].max()


def test_an_image_without_a_reading_has_no_view(tmp_path: Path) -> None:
    blind = block_outcome(1)
    blind.images["depth"] = np.full_like(blind.images["depth"], np.nan)
    library = library_of(tmp_path, [block_outcome(0), blind])
    assert [record.id for record in library.records] == ["w:0:0"]


def test_depth_is_in_metres_without_unread_pixels() -> None:
    outcome = block_outcome(0)
    outcome.images["depth"][0, :3] = [np.nan, np.inf, -1]
    outcome.meta.images["depth"].scale = 0.5
    depth = depth_metres(outcome)
    assert depth[0, :3].tolist() == [0, 0, 0]
    assert depth[0, 3] == pytest.approx(0.3)


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
