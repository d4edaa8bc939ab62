"""Tickets of workers that give the planner colour alone."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from grasp_client.contract import GraspPlan, Gripper, SceneRequest
from shared.settings import WorkerSettings
from sim_worker.benchmark.baselines import BASELINES
from sim_worker.outcome_records import outcome_of
from sim_worker.planner_request import PlanningRequest
from sim_worker.tasks.attempts import Attempt, run_scene_request
from sim_worker.worker.scene_requests import LocalSceneRequests, SceneRequestSource
from sim_worker.worker.worker import Worker
from sim_worker.world import SceneSpec, World


def test_an_outcome_holds_the_colours_that_were_planned_on_and_no_depth() -> None:
    scene, ticket = World().build(SceneSpec(seed=3)), SceneRequest(id="t", seed=3, exploration=1.0)
    task = run_scene_request(scene, ticket, Gripper(), ["rgb", "table_depth"], ["depth"])
    call = next(task)
    assert isinstance(call, PlanningRequest)
    assert call.observation.depth is None
    assert call.request.table_depth
    seen = run_scene_request(scene, ticket, Gripper())
    full = next(seen)
    assert isinstance(full, PlanningRequest)
    grasps = BASELINES["centroid"].plan(full.observation, full.request).grasps
    attempt = task.send(GraspPlan(planner="centroid", grasps=grasps))
    assert isinstance(attempt, Attempt)
    outcome = outcome_of(attempt, ticket, "w:1:0", "w")
    assert set(outcome.images) == set(outcome.meta.images) == {"rgb"}
    assert outcome.meta.exploration  # without depth there is nothing to draw on but the plan itself
    assert outcome.meta.probability == pytest.approx(1.0 * 2 / 2)


def test_a_worker_without_depth_needs_colour(tmp_path: Path) -> None:
    settings = WorkerSettings(depth=False, spool_dir=tmp_path)
    source = SceneRequestSource(None, "w", LocalSceneRequests(settings, "w"))
    with pytest.raises(ValueError, match="set rgb as well"):
        Worker(settings, "w", BASELINES["random"], source, None, None, threading.Event())  # type: ignore[arg-type]
