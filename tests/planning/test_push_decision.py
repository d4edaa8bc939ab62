"""What to do next to get one thing: by its own grasps, by its neighbours', or by a push; and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from table_scenes import Box, Solid, camera, render

from grasp_client.contract import ActionPlan, ActionRequest, Gripper
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlannerError
from planning.jaw.analytic import AntipodalPlanner
from planning.push.candidates import push_candidates
from planning.push.decision import Asked, Decision, check_asked, decide
from planning.push.values import MODEL, predicted_qualities, sweep_order
from planning.scene.scene import observe_scene
from planning.suction.analytic import SuctionPlanner
from shared.features.push import FEATURES, PushPaths
from shared.networks.push_value import PushValue
from shared.registry import ModelCard

VIEW = camera(480, 640, 525.0)
GOAL = Box(0.0, 0.0, 0.0, 0.06, 0.06, 0.05)
FREE = Box(0.0, 0.0, 0.0, 0.03, 0.05, 0.05)
LARGE: list[Solid] = [Box(0.0, 0.08 * s, 0.0, 0.26, 0.10, 0.06) for s in (1, -1)]
LARGE += [Box(0.08 * s, 0.0, 0.0, 0.10, 0.06, 0.06) for s in (1, -1)]
"""On all four sides, too large to be lifted."""
SMALL: list[Solid] = [*LARGE[:3], Box(-0.045, 0.0, 0.0, 0.03, 0.05, 0.09)]
"""One of them can be lifted."""


def item(solids: list[Solid], goal: np.ndarray | None = None, **options: Any) -> tuple[Observation, ActionRequest]:
    depth = render(VIEW, solids)
    mask = depth < render(VIEW, solids[1:]) - 1e-6 if goal is None else goal
    request = ActionRequest(camera=VIEW.intrinsics, camera_pose=VIEW.pose.tolist(), seed=0, **options)
    return Observation(depth=depth, goal=None if request.point else mask), request


def decided(asked: tuple[Observation, ActionRequest], values: LoadedNetwork | None = None) -> Decision:
    check_asked(*asked)
    planner = SuctionPlanner() if asked[1].gripper.kind == "suction" else AntipodalPlanner()
    [decision] = decide([Asked(asked, planner, None, values)])
    return decision


def answer(solids: list[Solid], **options: Any) -> ActionPlan:
    return decided(item(solids, **options)).answer


def network() -> LoadedNetwork:
    """Values that rise with the length of a push alone."""
    module = PushValue(hidden=4, members=1).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        place = FEATURES.index("length")
        module.weights[0][0, place, 0] = module.weights[1][0, 0, 0] = module.weights[2][0, 0, 0] = 1.0
    return LoadedNetwork(MODEL, 3, module, ModelCard(name=MODEL, architecture=MODEL), torch.device("cpu"))


def test_what_can_be_grasped_is_grasped() -> None:
    decision = decided(item([FREE, Box(0.12, 0.1, 0.0, 0.04, 0.04, 0.04)]))
    assert decision.answer.action == "grasp"
    assert decision.answer.goal_quality == decision.answer.grasps[0].quality > 0.5
    assert decision.answer.pushes == decision.answer.clears == []
    assert decision.executed is not None
    assert decision.executed.grasps == decision.answer.grasps


def test_the_threshold_decides() -> None:
    found = answer([FREE], push={"threshold": 1.0})
    assert found.grasps
    assert found.action == "push"
    assert found.pushes


def test_a_grasp_that_may_well_fail_is_not_made_yet() -> None:
    wide: list[Solid] = [Box(0.0, 0.0, 0.0, 0.078, 0.05, 0.05), Box(0.0, 0.07, 0.0, 0.2, 0.05, 0.05)]
    found = answer(wide)
    assert 0.5 < found.goal_quality < 0.8
    assert found.action in ("clear", "push")
    assert answer(wide, push={"threshold": 0.5}).action == "grasp"


def test_a_neighbour_that_can_be_lifted_is_lifted() -> None:
    decision = decided(item([GOAL, *SMALL]))
    assert decision.answer.action == "clear"
    best = np.array(decision.answer.clears[0].pose_base)[:2, 3]
    assert np.hypot(*(best - [-0.045, 0.0])) < 0.02
    assert decision.answer.clears[0].quality > 0.6
    assert decision.executed is not None
    assert decision.executed.grasps == decision.answer.clears
    assert answer([GOAL, *SMALL], push={"allow_clear": False}).action == "push"


def test_a_push_that_is_likely_to_be_enough_comes_before_lifting_a_neighbour() -> None:
    answer = decided(item([GOAL, *SMALL]), network()).answer
    assert answer.pushes[0].predicted_quality is not None
    assert answer.pushes[0].predicted_quality > 0.5
    assert answer.action == "push"
    assert answer.clears


def test_what_stands_far_off_is_not_cleared() -> None:
    found = answer([GOAL, *LARGE, Box(0.22, 0.16, 0.0, 0.03, 0.05, 0.05)])
    assert found.clears == []
    assert found.action == "push"


def test_without_a_network_the_rule_orders_and_predicts_nothing() -> None:
    found = answer([GOAL, *LARGE])
    assert (found.action, found.planner, found.model) == ("push", "rule", None)
    assert all(push.predicted_quality is push.gain is None for push in found.pushes)
    assert found.goal_quality < 0.5
    assert 0 < len(found.pushes) <= 10
    assert all(0.05 <= push.length <= 0.13 for push in found.pushes)


def test_a_network_orders_by_what_it_predicts() -> None:
    found = decided(item([GOAL, *LARGE]), network()).answer
    assert (found.planner, found.model and found.model.version) == (MODEL, 3)
    predicted = [push.predicted_quality or 0.0 for push in found.pushes]
    lengths = [push.length for push in found.pushes]
    assert predicted == sorted(predicted, reverse=True)
    assert lengths == sorted(lengths, reverse=True)
    assert found.pushes[0].gain == pytest.approx(predicted[0] - found.goal_quality)


def test_only_the_best_by_numbers_are_looked_at_closer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planning.push.values.CLOSER", 5)
    scene = observe_scene(*item([GOAL, *LARGE]), torch.device("cpu"))
    torch.manual_seed(0)
    plain, module = network(), PushValue(hidden=4, members=1, crop_width=2)
    module.load_state_dict(plain.module.state_dict(), strict=False)
    with torch.no_grad():
        module.crop_scorers[0].head[-1].bias.fill_(0.5)  # type: ignore[union-attr, index, operator]
    wide = replace(plain, module=module.eval())
    assert scene.goal is not None
    goal = scene.goal.numpy()
    paths = push_candidates(scene, goal, scene.request.push, np.random.default_rng(0)).paths  # type: ignore[attr-defined]
    numbers, crops = (predicted_qualities(scene.map, goal, paths, Gripper(), 0.2, each) for each in (plain, wide))
    order = np.argsort(-numbers, kind="stable")
    assert (crops[order[:5]] > numbers[order[:5]]).all()
    assert crops[order[5:]].max() <= crops[order[:5]].min()


def test_the_rule_orders_where_the_network_promises_too_little() -> None:
    told = decided(item([GOAL, *LARGE]), network()).answer
    best = max(push.predicted_quality or 0.0 for push in told.pushes)
    swept = decided(item([GOAL, *LARGE], push={"rule_below": best + 0.01}), network()).answer
    assert (swept.planner, swept.model) == ("rule", told.model)
    by_rule = answer([GOAL, *LARGE])
    assert [push.start_base for push in swept.pushes] == [push.start_base for push in by_rule.pushes]
    assert all(push.predicted_quality is not None for push in swept.pushes)
    hopeful = decided(item([GOAL, *LARGE], push={"rule_below": best - 0.01}), network()).answer
    assert hopeful.planner == MODEL


def test_the_rule_sweeps_neighbours_and_not_the_goal() -> None:
    observation, request = item([GOAL, Box(0.0, 0.055, 0.0, 0.06, 0.04, 0.05)])
    scene = observe_scene(observation, request, torch.device("cpu"))
    assert scene.goal is not None
    into_map = np.linalg.inv(VIEW.pose @ scene.map.pose)
    starts, along = np.array([[-0.1, 0.055, 0, 1], [-0.1, 0.0, 0, 1]]) @ into_map.T, into_map[:2, 0]
    paths = PushPaths(
        starts[:, 0], starts[:, 1], np.full(2, np.arctan2(*along[::-1])), np.full(2, 0.13), np.full(2, 0.01), np.zeros(2, bool)
    )
    beside, through = sweep_order(scene.map, scene.goal.numpy(), paths, request.gripper)
    assert beside > 0 > through


def test_pushes_begin_free_and_none_repeats_another() -> None:
    found = answer([GOAL, *LARGE], n_grasps=30)
    starts = np.array([np.array(push.start_base)[:3, 3] for push in found.pushes])
    ends = np.array([np.array(push.end_base)[:3, 3] for push in found.pushes])
    assert not any(solid.inside(starts).any() for solid in [GOAL, *LARGE])
    for k, start in enumerate(starts):
        others = np.hypot(*(starts[:k] - start)[:, :2].T) < 0.02
        turned = [np.dot(ends[i] - starts[i], ends[k] - start) < 0.93 * found.pushes[i].length * found.pushes[k].length
                  for i in np.flatnonzero(others)]  # fmt: skip
        assert all(turned)


def test_a_hidden_goal_gets_a_reason() -> None:
    goal = np.zeros((480, 640), bool)
    goal[20:40, 20:40] = True
    found = answer([FREE], goal=goal)
    assert (found.action, found.grasps) == ("none", [])
    assert found.reason
    assert "hidden" in found.reason


def test_a_cup_does_not_push() -> None:
    box = Box(0.0, 0.0, 0.0, 0.018, 0.018, 0.05)
    found = answer([box, *LARGE], gripper=Gripper(kind="suction"))
    assert found.pushes == []
    assert found.action in ("none", "clear")
    assert any(warning.startswith("no_pushes") for warning in found.warnings)


def test_a_pixel_marks_the_goal() -> None:
    found = answer([FREE, Box(0.12, 0.1, 0.0, 0.04, 0.04, 0.04)], point=[319, 239])
    assert found.action == "grasp"
    assert np.hypot(*np.array(found.grasps[0].pose_base)[:2, 3]) < 0.02


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"goal": None}, "no_goal"),
        ({"depth": None, "rgb": np.zeros((480, 640, 3), np.uint8)}, "missing_image"),
        ({"camera": None, "camera_pose": None}, "no_camera"),
        ({"camera_pose": None, "push": {"workspace": [0, 0, 1, 1]}}, "no_camera_pose"),
    ],
)
def test_what_no_action_can_answer_is_refused(changes: dict, code: str) -> None:
    observation, request = item([FREE])
    images = {**vars(observation), **{name: value for name, value in changes.items() if hasattr(observation, name)}}
    told = {**request.model_dump(exclude_unset=True), **{k: v for k, v in changes.items() if not hasattr(observation, k)}}
    with pytest.raises(PlannerError) as refused:
        check_asked(Observation(**images), ActionRequest(**told))
    assert (refused.value.status, refused.value.code) == (422, code)


@pytest.mark.parametrize(
    "push",
    [
        {"min_length": 0.2, "max_length": 0.1},
        {"max_length": 3.0},
        {"min_length": 0.0},
        {"threshold": 1.5},
        {"workspace": [1, 0, 0, 1]},
        {"workspace": [0, 0, 1]},
        {"sideways": True},
    ],
)
def test_options_of_pushes_are_bounded(push: dict) -> None:
    with pytest.raises(ValueError, match="push"):
        ActionRequest(push=push)
