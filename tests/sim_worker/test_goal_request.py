"""A worker gets one thing in scenes that have a goal: pushes and grasps become outcomes, and the last one ends the episode."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from waiting import PATIENCE

from grasp_client.contract import (
    ActionPlan,
    ActionRequest,
    GraspMeta,
    GraspPlan,
    ModelRef,
    PlanRequest,
    Push,
    PushMeta,
    SceneRequest,
)
from grasp_client.geometry import deproject, transform
from grasp_client.observation import Observation
from shared.outcome_codec import EncodedOutcome, decode_outcome
from shared.settings import WorkerSettings
from shared.streams.outcome_batches import OutcomeBatch
from sim_worker.grasp_poses import jaw_grasp, top_down
from sim_worker.tasks.goal_planner import ActionPlanner
from sim_worker.worker.outbox import Outbox
from sim_worker.worker.publisher import OutboxPublisher
from sim_worker.worker.scene_requests import LocalSceneRequests, SceneRequestSource
from sim_worker.worker.worker import Worker

MODEL, GRASPS = ModelRef(name="push-value", version=3), ModelRef(name="dense", version=7)


class Pusher:
    """Pushes the goal's middle twice, then grasps it there."""

    def __init__(self) -> None:
        self.asked: list[ActionRequest] = []

    def plan(self, observation: Observation, request: PlanRequest) -> GraspPlan:
        raise AssertionError("scenes with a goal are asked about actions")

    def plan_action(self, observation: Observation, request: ActionRequest) -> ActionPlan:
        self.asked.append(request)
        assert observation.goal is not None
        assert observation.depth is not None
        assert request.camera is not None
        v, u = np.nonzero(observation.goal)
        pose = np.asarray(request.camera_pose)
        points = transform(pose, deproject(np.stack([u, v], 1), observation.depth[v, u], request.camera))
        x, y = points[:, :2].mean(axis=0)
        start = top_down(np.array([x - 0.12, y]), 0.06, np.pi / 2)
        end = start.copy()
        end[0, 3] += 0.1
        pushes = [Push(start_base=start.tolist(), end_base=end.tolist(), length=0.1, predicted_quality=0.7)] * 3
        grasp = jaw_grasp(top_down(np.array([x, y]), 0.005, 0.0), 0.08, 0.4, request.camera, pose)
        number = len(self.asked)
        told = {"grasps": [grasp], "goal_quality": 0.1 * number, "planner": "push-value", "grasp_planner": "dense"}
        action = "push" if number < 3 else "grasp"
        return ActionPlan.model_validate({**told, "action": action, "pushes": pushes, "model": MODEL, "grasp_model": GRASPS})


def run(folder: Path, request: SceneRequest) -> tuple[Pusher, list[object], Worker]:
    options = WorkerSettings(outbox_dir=folder / "outbox", worker_id="w", attempts=0, vary="nothing")
    taken: list[EncodedOutcome] = []
    stop, planner = threading.Event(), Pusher()

    class Once(SceneRequestSource):
        def next(self, block_ms: int) -> tuple[str | None, SceneRequest] | None:
            if taken or planner.asked:
                stop.set()
                return None
            return None, request

    def send(batches: Sequence[OutcomeBatch]) -> int:
        found = [outcome for batch in batches for outcome in batch.outcomes()]
        taken.extend(found)
        return len(found)

    publisher = OutboxPublisher(Outbox(options.outbox_dir, "w", 1e9), send)
    worker = Worker(options, "w", planner, Once(None, "w", LocalSceneRequests(options, "w")), publisher, None, stop)
    thread = threading.Thread(target=worker.run)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    return planner, [decode_outcome(each) for each in taken], worker  # type: ignore[attr-defined]


REQUEST = SceneRequest(
    id="collect-1", seed=4, kind="enclosed", object_set="blocks", profile="clean", planner="push", model_version=3, attempts=3
)


def test_every_motion_of_an_episode_is_an_outcome(tmp_path: Path) -> None:
    planner, outcomes, worker = run(tmp_path, REQUEST)
    assert isinstance(planner, ActionPlanner)
    first, second, last = (outcome.meta for outcome in outcomes)  # type: ignore[attr-defined]
    assert isinstance(first, PushMeta)
    assert isinstance(last, GraspMeta)
    assert (first.quality_before, first.quality_after) == (0.1, 0.2)
    assert second.quality_before == 0.2
    assert (first.model, first.planner, first.exploration) == (MODEL, "push-value", False)
    assert first.goal in first.scene.objects  # type: ignore[union-attr,operator]
    assert first.episode is None
    assert last.model == GRASPS
    assert last.episode is not None
    assert (last.episode.motions, last.episode.model, last.episode.done) == (3, MODEL, last.success)
    assert {outcome.id for outcome in outcomes} == {"w:1:0", "w:1:1", "w:1:2"}  # type: ignore[attr-defined]
    assert worker.tally.attempts == 3
    asked = planner.asked[0]
    assert (asked.planner, asked.push.model_version, asked.push.allow_clear, asked.model_version) == ("auto", 3, False, None)
    assert len(planner.asked) == 3  # what is asked after a push tells what comes next too


def test_an_episode_with_explored_pushes_tells_of_no_version(tmp_path: Path) -> None:
    planner, outcomes, _ = run(tmp_path, REQUEST.model_copy(update={"exploration": 1.0, "attempts": 2}))
    last = outcomes[-1].meta  # type: ignore[attr-defined]
    assert isinstance(last, PushMeta)
    assert last.exploration
    assert last.episode is not None
    assert last.episode.model is None
    assert planner.asked[0].n_grasps == 100
