"""What to do next to get one thing: grasp it, lift a neighbour away, or push.

Grasp where the goal's best grasp is good enough; else make the push after which it can be grasped best, where that is likely;
else lift a thing away that stands next to it, where one can be lifted well; else make that push all the same. The planner that
is trusted with the grasps is the judge of the pushes too.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from grasp_client.contract import ActionPlan, ActionRequest, Grasp, GraspPlan
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlanItem, Planner, PlannerError
from planning.batched_inference import between_passes, plan_batched
from planning.goal.marking import mark_goal
from planning.push.candidates import PushCandidates, push_candidates
from planning.push.values import predicted_qualities, sweep_order
from planning.push.wire import wire_pushes
from planning.scene.scene import PlanningScene, observe_scene
from shared.features.push import raised_cells

PUSH_SECONDS = 0.12
"""Of one core, to look at the scene again and to find and judge pushes."""
CLEAR_QUALITY = 0.8
"""A neighbour is lifted away by a grasp at least so good."""
PUSH_FIRST = 0.5
"""Predicted quality from which on a push is made though a neighbour could be lifted away: either is one motion, and of several
neighbours one lifted is often not enough (docs/reports/2026-11-30-push.md)."""
CLEAR_REACH = 0.035
"""It stands so near to the goal, m."""
CLEAR_REGION = 0.10
"""Within so much around the goal its grasps are looked for, m: neighbours are larger than their near side."""
CLEARS = 40
"""Grasps of neighbours that are looked at, at least."""
SAMPLES = 25
"""Between the fingers of such a grasp."""
RULE = "rule"
"""Name of what orders pushes while no network does."""
LEAST_CELLS = 12
"""A goal of which fewer cells of the map are seen to stand on the table is hidden, or lies flat."""
APART, TURNED = 0.02, 0.4
"""Two pushes that begin nearer to each other than this, m, and differ by less in direction, rad, are one push."""
HIDDEN = "the goal is hidden, gone or flat: of its mask hardly anything is seen, from above, to rise over the table"
NO_WAY = "the goal cannot be grasped as it stands, and no push or neighbour's grasp was found that may help"


@dataclass(frozen=True)
class Asked:
    """A question with what answers it: a planner and its network, and the network that tells the values of pushes, if any."""

    item: tuple[Observation, ActionRequest]
    planner: Planner
    network: LoadedNetwork | None
    values: LoadedNetwork | None


@dataclass(frozen=True)
class Decision:
    """The answer, and the plan whose grasps it says to execute, if any: what outcomes will be reported of."""

    answer: ActionPlan
    executed: GraspPlan | None


def check_asked(observation: Observation, request: ActionRequest) -> None:
    """Raises PlannerError 422 for a question that no action can answer."""
    if observation.goal is None and request.point is None:
        raise PlannerError(422, "no_goal", "expected what is wanted: its mask, `goal`, or a pixel of it, `point`")
    if observation.depth is None:
        raise PlannerError(422, "missing_image", "actions need depth; send a depth image")
    if request.camera is None:
        raise PlannerError(422, "no_camera", "pushes are metric: send `camera`")
    if request.push.workspace is not None and request.camera_pose is None:
        raise PlannerError(422, "no_camera_pose", "push.workspace lies in the base frame: send `camera_pose`, or leave it out")


def decide(asked: Sequence[Asked]) -> list[Decision]:
    """Decisions in the order of `asked`, whose items `check_asked` has let pass. Raises PlannerError for one that cannot be."""
    marked = [mark_goal(each.item) for each in asked]
    goals = plan_batched([(each.planner, each.network, item) for each, (item, _) in zip(asked, marked, strict=True)])
    plans = [
        plan.model_copy(update={"warnings": [*told, *plan.warnings]}) for plan, (_, told) in zip(goals, marked, strict=True)
    ]
    items = [item for item, _ in marked]
    best = [plan.grasps[0].quality if plan.grasps else 0.0 for plan in plans]
    unsure = [k for k, each in enumerate(asked) if best[k] < each.item[1].push.threshold]
    shown = {k: scene for k in unsure if (scene := _from_above(items[k])) and _own_cells(scene).sum() >= LEAST_CELLS}
    clearing = [k for k in shown if asked[k].item[1].push.allow_clear]
    others = plan_batched([(asked[k].planner, asked[k].network, _beside_goal(shown[k])) for k in clearing])
    clears = {k: _lifted(shown[k], plan) for k, plan in zip(clearing, others, strict=True)}
    return [_decided(each, plans[k], best[k], shown.get(k), clears.get(k)) for k, each in enumerate(asked)]


def _decided(
    asked: Asked,
    plan: GraspPlan,
    best: float,
    scene: PlanningScene | None,
    clears: GraspPlan | None,
) -> Decision:
    """scene: where a goal is seen that cannot be grasped well. clears: grasps of its neighbours."""
    answer = ActionPlan(
        action="grasp",
        grasps=plan.grasps,
        goal_quality=best,
        planner=asked.values.name if asked.values else RULE,
        grasp_planner=plan.planner,
        model=asked.values and asked.values.ref,
        grasp_model=plan.model,
        rejections=plan.rejections,
        warnings=plan.warnings,
        timings_ms=plan.timings_ms,
    )
    if best >= asked.item[1].push.threshold:
        return Decision(answer, plan)
    if scene is None:
        return Decision(answer.model_copy(update={"action": "none", "reason": HIDDEN}), None)
    between_passes.get()()
    started = time.perf_counter()
    changes = _pushes(asked, scene, best, plan.warnings)
    changes["timings_ms"] = {**answer.timings_ms, "push": 1e3 * (time.perf_counter() - started)}
    executed: GraspPlan | None = None
    if clears is not None:
        changes["clears"] = clears.grasps
    pushes = changes["pushes"]
    hopeful = isinstance(pushes, list) and bool(pushes) and (pushes[0].predicted_quality or 0.0) >= PUSH_FIRST
    if clears is not None and clears.grasps and not hopeful:
        changes["action"], executed = "clear", clears
    elif pushes:
        changes["action"] = "push"
    elif plan.grasps:
        executed, changes["reason"] = plan, "below `threshold`, but nothing else was found that may help"
    else:
        changes |= {"action": "none", "reason": NO_WAY}
    return Decision(answer.model_copy(update=changes), executed)


def _from_above(item: PlanItem) -> PlanningScene | None:
    """What pushes are planned in; None where the camera does not look down."""
    try:
        return observe_scene(*item, torch.device("cpu"))
    except PlannerError:
        return None


def _own_cells(scene: PlanningScene) -> np.ndarray:
    assert scene.goal is not None
    cells: np.ndarray = scene.goal.cpu().numpy() & raised_cells(scene.map)
    return cells


def _beside_goal(scene: PlanningScene) -> PlanItem:
    """What asks for grasps of the goal's neighbours: its pixels are left out, and its surroundings all that is wanted."""
    observation, request = scene.observation, scene.request
    assert observation.goal is not None
    left, top, columns, rows = cv2.boundingRect(observation.goal.astype(np.uint8))
    margin = CLEAR_REGION * max(scene.camera.fx, scene.camera.fy) / max(float(scene.map.pose[2, 3]), 0.05)
    others = ~observation.goal if observation.segmask is None else observation.segmask & ~observation.goal
    region = [left - margin, top - margin, left + columns - 1 + margin, top + rows - 1 + margin]
    wanted = {"region": region, "min_quality": CLEAR_QUALITY, "n_grasps": max(CLEARS, request.n_grasps), "checks": "off"}
    return replace(observation, goal=None, segmask=others), request.model_copy(update=wanted)


def _lifted(scene: PlanningScene, plan: GraspPlan) -> GraspPlan:
    """The plan with those grasps alone between whose contacts something lies within CLEAR_REACH of the goal, but no goal."""
    distance = cv2.distanceTransform((~_own_cells(scene)).astype(np.uint8), cv2.DIST_L2, 3) * scene.map.resolution
    near = [grasp for grasp in plan.grasps if 0 < _least(scene, distance, grasp) <= CLEAR_REACH]
    return plan.model_copy(update={"grasps": near[: scene.request.n_grasps]})


def _least(scene: PlanningScene, layer: np.ndarray, grasp: Grasp) -> float:
    """Least value of a layer (H, W) of the map between the fingers of a grasp, or under a cup's middle."""
    pose = np.linalg.inv(scene.map.pose) @ np.asarray(grasp.pose_camera)
    places = pose[:2, 3] + np.linspace(-0.5, 0.5, SAMPLES)[:, None] * (grasp.width or 0.0) * pose[:2, 0]
    cells = np.rint((places - np.array(scene.map.corner)) / scene.map.resolution).astype(int)
    rows, columns = layer.shape
    return float(layer[cells[:, 1].clip(0, rows - 1), cells[:, 0].clip(0, columns - 1)].min())


def _pushes(asked: Asked, scene: PlanningScene, quality: float, warnings: list[str]) -> dict[str, object]:
    """Fields of the answer that tell of pushes."""
    request = asked.item[1]
    if request.gripper.kind != "parallel_jaw":
        told = "no_pushes: pushes are planned for the closed fingers of a jaw, and `gripper` is a cup"
        return {"pushes": [], "warnings": [*warnings, told], "planner": RULE, "model": None}
    goal = _own_cells(scene)
    found = push_candidates(scene, goal, request.push, np.random.default_rng(request.seed))
    rejections = {reason: count for reason, count in sorted(found.rejected.items()) if count}
    if not len(found):
        return {"pushes": [], "push_rejections": rejections}
    values, scores, changes = None, None, dict[str, object]()
    if asked.values:
        scores = values = predicted_qualities(scene.map, goal, found.paths, request.gripper, quality, asked.values)
    if scores is None or scores.max() < request.push.rule_below:
        scores, changes = sweep_order(scene.map, goal, found.paths, request.gripper), {"planner": RULE}
    chosen = _distinct(found, scores, request.n_grasps)
    pushes = wire_pushes(scene, found.paths.pick(chosen), None if values is None else values[chosen], quality)
    return {**changes, "pushes": pushes, "push_rejections": rejections}


def _distinct(found: PushCandidates, scores: np.ndarray, most: int) -> np.ndarray:
    """Indices of the best pushes by scores (N,), none repeating a better one."""
    paths, chosen = found.paths, list[int]()
    for k in np.argsort(-scores, kind="stable"):
        others = np.array(chosen, int)
        near = np.hypot(paths.x[others] - paths.x[k], paths.y[others] - paths.y[k]) < APART
        turn = np.abs(np.angle(np.exp(1j * (paths.direction[others] - paths.direction[k]))))
        if not (near & (turn < TURNED)).any():
            chosen.append(int(k))
        if len(chosen) == most:
            break
    return np.array(chosen, int)
