"""Attempts without images are learned from as with them, but for those that render otherwise here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from records import dead_letters, send_scene, store

from grasp_client.contract import Grasp, GraspMeta, Outcome, SceneRef
from shared.outcome_codec import build_outcome
from shared.streams import OutcomeStream, connect
from sim_worker.replays import without_images
from sim_worker.world import SceneSpec, World
from trainer_job.data import replayed_views
from trainer_job.data.feature_cache import CachedFeatures, FeatureCache
from trainer_job.data.replayed_views import VIEWS, ReplayedViews
from trainer_job.ingest.ingest import Ingest
from trainer_job.tasks import task_of_model

TASK = task_of_model("dense")


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    VIEWS.close()
    VIEWS.missing = False


@pytest.fixture(scope="module")
def attempts() -> list[tuple[Outcome, Outcome]]:
    """Attempts in two scenes, with images and without."""
    world, found = World(), []
    for seed in (1, 2):
        spec = SceneSpec(seed=seed, profile="standard")
        view = world.build(spec).observe()
        for number in range(2):
            pose = np.diag([1.0, 1.0, 1.0, 1.0])
            pose[:3, 3] = 0.01 * number, 0.0, 0.66
            grasp = Grasp(
                kind="parallel_jaw",
                quality=0.5,
                center_px=[120, 120],
                angle=0.0,
                depth=0.66,
                width=0.06,
                pose_camera=pose.tolist(),
            )
            fields = {
                "grasp": grasp, "planner": "antipodal", "success": bool(number), "failure": None if number else "missed",
                "camera": view.camera, "camera_pose": np.asarray(view.camera_pose).tolist(), "scene": SceneRef(seed=seed),
            }  # fmt: skip
            outcome = build_outcome(GraspMeta, f"w:{seed}:{number}", view.observation.depth, None, fields)
            found.append((outcome, without_images(outcome, spec)))
    return found


def features(folder: Path, outcomes: list[Outcome]) -> CachedFeatures:
    return FeatureCache(folder / "features", TASK).load(store(folder / "shards", outcomes))


def otherwise(outcome: Outcome) -> Outcome:
    """As of a simulator that renders otherwise."""
    assert outcome.meta.replay
    replay = outcome.meta.replay.model_copy(update={"checksums": {"depth": "0" * 32}})
    return outcome.model_copy(update={"meta": outcome.meta.model_copy(update={"replay": replay})})


def test_features_are_those_of_the_images(tmp_path: Path, attempts: list[tuple[Outcome, Outcome]]) -> None:
    whole = features(tmp_path / "images", [outcome for outcome, _ in attempts])
    replayed = features(tmp_path / "replays", [outcome for _, outcome in attempts])
    assert whole.rows.tolist() == replayed.rows.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(whole.features, replayed.features)
    np.testing.assert_array_equal(whole.aux, replayed.aux)
    mixed = [attempts[0][1], otherwise(attempts[1][1]), *(outcome for _, outcome in attempts[2:])]
    some = features(tmp_path / "mixed", mixed)
    assert some.rows.tolist() == [0, 2, 3], "one that renders otherwise is left out"
    assert some.refused == {"renders_otherwise": 1}
    np.testing.assert_array_equal(some.features, whole.features[[0, 2, 3]])


def test_without_a_simulator_they_are_counted_until_there_is_one(
    tmp_path: Path, attempts: list[tuple[Outcome, Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()

    class Nothing:
        def __init__(self, name: str, count: int) -> None:
            asked.append(name)

        def ask(self, *_: object) -> None:
            raise RuntimeError("in the simulated worlds: ModuleNotFoundError: No module named 'sim_worker'")

    shard = store(tmp_path / "shards", [attempts[0][0], attempts[2][1]])
    cache = FeatureCache(tmp_path / "features", TASK)
    with monkeypatch.context() as missing:
        missing.setattr(replayed_views, "WorldProcess", Nothing)
        for _ in range(2):
            found = cache.load(shard)
            assert (found.rows.tolist(), found.refused) == ([0], {"no_simulator": 1})
    assert asked == ["views"]
    VIEWS._process, VIEWS.missing = None, False
    found = cache.load(shard)
    assert (found.rows.tolist(), found.refused) == ([0, 1], {})


def test_a_simulator_that_ends_is_started_again(
    attempts: list[tuple[Outcome, Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = list[str]()

    class Falling:
        def __init__(self, name: str, count: int) -> None:
            started.append(name)

        def ask(self, *_: object) -> None:
            raise RuntimeError("the process of the simulated worlds ended unexpectedly")

    monkeypatch.setattr(replayed_views, "WorldProcess", Falling)
    views = ReplayedViews()
    for _ in range(2):
        with pytest.raises(replayed_views.ReplayError) as caught:
            views.complete(attempts[0][1])
        assert caught.value.reason == "renders_otherwise"
    assert len(started) == 2


def test_ingest_takes_attempts_of_workers_without_images(
    redis_url: str, tmp_path: Path, attempts: list[tuple[Outcome, Outcome]]
) -> None:
    stream = OutcomeStream(connect(redis_url))
    send_scene(stream, [attempts[0][1], attempts[1][1]], "w", 1)
    bare = attempts[2][0].meta.model_copy(update={"images": {}})
    send_scene(stream, [Outcome(id="w:9:9", meta=bare, images={})], "w", 3)
    ingest = Ingest(stream, tmp_path / "shards", shard_outcomes=2)
    assert ingest.step(block_ms=100)
    ingest.step(block_ms=100)
    assert [reason for _, reason in dead_letters(stream)] == ["no image: an outcome needs the observation it was planned on"]
