"""`refined`: in a cell whose calibration is off it asks for poses that undo the error, and geometry still vetoes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.spatial.transform import Rotation
from table_scenes import Box, camera, render

from grasp_client.contract import PlanRequest
from grasp_client.geometry import pose_from
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlannerError
from planning.discovery import choose
from planning.jaw.analytic import AntipodalPlanner
from planning.refined import planner as refined
from planning.refined.planner import RefinedPlanner, moved, undone
from shared.features.place import frame_of
from shared.grasp_poses import HandPose
from shared.networks.cell_critic import SHIFT, TURN, CellCritic
from shared.registry import ModelCard

VIEW = camera(240, 320, 262.5)
DEPTH = render(VIEW, [Box(0.02, 0.01, 0.3, 0.14, 0.03, 0.04), Box(-0.07, -0.06, 1.0, 0.05, 0.04, 0.03)])
SHIFTED, TURNED = (0.010, -0.008, 0.006), (0.0, 0.0, 0.07)
ERROR = pose_from(Rotation.from_rotvec(TURNED).as_matrix(), np.array(SHIFTED))


def network(shift=(0, 0, 0), turn=(0, 0, 0)) -> LoadedNetwork:
    module = CellCritic(base="antipodal").eval()
    with torch.no_grad():
        module.movement.copy_(torch.tensor([*shift, *turn]) / torch.tensor([SHIFT] * 3 + [TURN] * 3))
    return LoadedNetwork("refine", 4, module, ModelCard(name="refine", architecture="cell-critic"), torch.device("cpu"))


def item(error: np.ndarray = np.eye(4), **options) -> tuple[Observation, PlanRequest]:
    told = {"camera": VIEW.intrinsics, "camera_pose": (error @ VIEW.pose).tolist(), "seed": 0, "n_grasps": 5}
    return Observation(depth=DEPTH), PlanRequest(**{**told, **options})


def test_it_undoes_an_error_that_it_knows(monkeypatch) -> None:
    """Without other offsets, what is told to a cell that is off is where the base would go if it were not."""
    monkeypatch.setattr(refined, "OFFSETS", 1)
    monkeypatch.setattr(refined, "HANDS", 1)
    monkeypatch.setattr(refined, "AGAIN", 1)
    [plan] = RefinedPlanner().plan_batch([item(ERROR)], network(SHIFTED, TURNED))
    [base] = AntipodalPlanner().plan_batch([item(n_grasps=refined.PROPOSALS)], None)
    assert (plan.planner, plan.model.name, plan.model.version) == ("refined", "refine", 4)
    for grasp in plan.grasps:
        off = [np.linalg.norm(np.array(grasp.pose_base)[:3, 3] - np.array(each.pose_base)[:3, 3]) for each in base.grasps]
        nearest = base.grasps[int(np.argmin(off))]
        assert min(off) < 0.002
        turn = np.array(grasp.pose_base)[:3, :3].T @ np.array(nearest.pose_base)[:3, :3]
        assert (np.trace(turn) - 1) / 2 > np.cos(0.02)


def test_without_an_error_it_only_offsets() -> None:
    [plan] = RefinedPlanner().plan_batch([item()], network())
    [base] = AntipodalPlanner().plan_batch([item(n_grasps=refined.PROPOSALS)], None)
    # An untrained scorer finds all alike, so no offset is worth its effort.
    assert np.allclose(plan.grasps[0].pose_base, base.grasps[0].pose_base, atol=2e-3)
    [again] = RefinedPlanner().plan_batch([item()], network())
    assert [grasp.pose_base for grasp in again.grasps] == [grasp.pose_base for grasp in plan.grasps]


def test_hands_that_would_really_collide_are_refused() -> None:
    """The hand is told to go where it is free, but it goes 3 cm deeper: into the table."""
    deep = network()
    [free] = RefinedPlanner().plan_batch([item()], deep)
    assert free.grasps
    monkey = refined.undone
    try:
        refined.undone = lambda critic, hands, frame: hands
        [plan] = RefinedPlanner().plan_batch([item()], network((0, 0, -0.03)))
    finally:
        refined.undone = monkey
    assert not plan.grasps
    assert plan.rejections["below_table"] + plan.rejections.get("collision", 0) > 100


def test_undone_is_the_inverse_of_moved() -> None:
    critic, frame = network((0.01, -0.02, 0.015), (0.03, -0.05, 0.07)).module, frame_of(np.eye(4), VIEW.pose)
    angle = torch.linspace(-3, 3, 7)
    hands = HandPose.straight_down(0.1 * angle.cos(), 0.1 * angle.sin(), -0.5 + 0 * angle, angle, 0.05 + 0 * angle)
    back = moved(critic, undone(critic, hands, frame), frame)
    assert torch.allclose(back.position, hands.position, atol=1e-5)
    assert torch.allclose(back.rotation, hands.rotation, atol=1e-5)


def test_offsets_stay_in_their_box_and_the_first_is_none() -> None:
    angle = torch.linspace(-3, 3, 5)
    hands = HandPose.straight_down(angle, 2 * angle, angle, angle, 0.05 + 0 * angle)
    many, steps = refined.offset(hands, 40, np.random.default_rng(0))
    apart = torch.einsum("nij,ni->nj", many.rotation, many.position - hands.position.repeat_interleave(40, 0)).abs()
    assert len(many) == 200
    assert not steps[::40].any()
    assert 0.25 < refined.offset(hands, 40, np.random.default_rng(0), 0.3)[1].abs().max() <= 0.3
    assert apart.max() <= 0.0201 + 0.0201 * 0.27
    assert apart.max() > 0.018


def test_proposals_are_corrected_in_place_of_the_bases_grasps(monkeypatch) -> None:
    monkeypatch.setattr(refined, "OFFSETS", 1)
    monkeypatch.setattr(refined, "HANDS", 1)
    monkeypatch.setattr(refined, "AGAIN", 1)
    [base] = AntipodalPlanner().plan_batch([item(n_grasps=1)], None)
    told = ERROR @ np.array(base.grasps[0].pose_base)
    alike = [{"pose_base": told.tolist()}, {"pose_camera": base.grasps[0].pose_camera, "width": base.grasps[0].width}]
    for proposal in alike:
        [plan] = RefinedPlanner().plan_batch([item(ERROR, proposals=[proposal])], network(SHIFTED, TURNED))
        [grasp] = plan.grasps
        off = np.linalg.inv(np.array(base.grasps[0].pose_base)) @ np.array(grasp.pose_base)
        assert np.allclose(off[:3, 3], 0, atol=1e-3)
        assert grasp.width == pytest.approx(proposal.get("width", 0.08), abs=1e-6)


def test_only_planners_that_correct_take_proposals() -> None:
    proposals = [{"pose_base": np.eye(4).tolist()}]
    seen, request = item(proposals=proposals)
    with pytest.raises(PlannerError, match="ask for auto or refined"):
        AntipodalPlanner().check(seen, request)
    assert choose(request, seen, {"antipodal", "dense", "refined"}) == "refined"
    with pytest.raises(ValidationError, match="needs `camera_pose`"):
        item(proposals=proposals, camera_pose=None)
    with pytest.raises(ValidationError, match="pose_camera or pose_base"):
        item(proposals=[{"width": 0.05}])


def test_a_base_that_is_no_planner_here_needs_proposals() -> None:
    taught = network()
    assert isinstance(taught.module, CellCritic)
    taught.module.base = "centroid"
    with pytest.raises(PlannerError, match="'centroid', which is no planner of this server: send `proposals`"):
        RefinedPlanner().plan_batch([item()], taught)


def test_it_needs_a_camera_and_a_model() -> None:
    with pytest.raises(PlannerError, match="send `camera`"):
        RefinedPlanner().plan_batch([item(camera=None, camera_pose=None)], network())
    with pytest.raises(PlannerError, match="no version of model 'refine'"):
        RefinedPlanner().plan_batch([item()], None)
