"""What the Panda of pybullet_data can reach, and plans that keep to it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from table_scenes import Box, camera, render

from grasp_client.contract import GraspPlan
from grasp_client.inputs import request_of
from grasp_client.observation import Observation
from planning.batched_inference import plan_batched
from planning.jaw.analytic import AntipodalPlanner
from planning.suction.analytic import SuctionPlanner

pytest.importorskip("pinocchio", reason="what an arm reaches needs Pinocchio: pip install 'grasploop[reach]'")

import pybullet_data

from planning.reach.arm import Arm
from planning.reach.configuration import read_arms

PANDA = Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf"
TOOL = [[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0.1124], [0, 0, 0, 1]]
VIEW = camera(240, 320, 300.0)


@pytest.fixture(scope="module")
def panda() -> Arm:
    return Arm(PANDA, "panda_hand", TOOL, np.eye(4))


def shifted(pose: np.ndarray, x: float) -> np.ndarray:
    moved = np.array(pose, dtype=float)
    moved[0, 3] += x
    return moved


def straight_down(x: float, y: float, z: float, yaw: float) -> np.ndarray:
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, sin, 0, x], [sin, -cos, 0, y], [0, 0, -1, z], [0, 0, 0, 1]])


def test_whatever_angles_of_the_joints_lead_to_is_reached_and_nothing_beyond_the_arm(panda: Arm) -> None:
    random = np.random.default_rng(3)
    low, high = panda._model.lowerPositionLimit, panda._model.upperPositionLimit
    turns = low + (high - low) * random.random((60, len(low)))
    poses = np.array([panda._tool_at(each).homogeneous for each in turns])
    assert panda.reaches(poses, poses, False).mean() > 0.96
    beyond = np.array([shifted(each, 2.5) for each in poses])
    assert not panda.reaches(beyond[:10], beyond[:10], False).any()


def test_a_pose_is_out_of_reach_whose_pre_grasp_is(panda: Arm) -> None:
    pose = straight_down(0.5, 0.0, 0.02, 0.3)
    assert panda.reaches(pose[None], pose[None], False).all()
    assert not panda.reaches(pose[None], shifted(pose, 1.0)[None], False).any()


def test_a_jaw_is_the_same_half_a_turn_on_and_a_cup_however_it_is_turned(panda: Arm, tmp_path: Path) -> None:
    poses = np.array([straight_down(0.55, 0.1, 0.02, yaw) for yaw in np.linspace(0, 2 * np.pi, 25)])
    assert panda.reaches(poses, poses, False).all()
    # A last joint that hardly turns: a jaw gets to some angles, a cup to all.
    before, name, rest = PANDA.read_text().partition('<joint name="panda_joint7"')
    (tmp_path / "stiff.urdf").write_text(before + name + rest.replace("2.9671", "0.3", 2))
    stiff = Arm(tmp_path / "stiff.urdf", "panda_hand", TOOL, np.eye(4))
    jaw, cup = stiff.reaches(poses, poses, False), stiff.reaches(poses, poses, True)
    assert (jaw[:12] == jaw[12:24]).mean() > 0.9
    assert jaw.mean() < 0.8
    assert cup.mean() > 0.9


def plan_of(arm: Arm | None, x: float, planner: str = "antipodal", **options: object) -> GraspPlan:
    """A row of blocks, the first of them at x in the arm's frame, m."""
    solids = [Box(0.09 * k - 0.09, 0.0, 0.4, 0.07, 0.03, 0.05) for k in range(3)]
    hand = "suction_15mm" if planner == "suction" else "franka_hand"
    pose = shifted(VIEW.pose, x + 0.09)
    request = request_of(camera=VIEW.intrinsics, camera_pose=pose, planner=planner, gripper=hand, **options)
    asked = SuctionPlanner() if planner == "suction" else AntipodalPlanner()
    asked.arm = arm
    [plan] = plan_batched([(asked, None, (Observation(depth=render(VIEW, solids)), request))])
    return plan


def test_plans_hold_the_best_that_are_reached(panda: Arm) -> None:
    free, near = plan_of(None, 0.45), plan_of(panda, 0.45)
    assert "unreachable" not in near.rejections
    assert len(near.grasps) == len(free.grasps) == 10
    # The Panda ends at 0.85 m: the last block lies beyond.
    edge = plan_of(panda, 0.70, explain=True)
    assert edge.grasps
    assert edge.rejections["unreachable"] > 0
    assert max(np.hypot(grasp.pose_base[0][3], grasp.pose_base[1][3]) for grasp in edge.grasps) < 0.85
    assert edge.refused[0].reason == "unreachable"
    assert np.hypot(edge.refused[0].pose_base[0][3], edge.refused[0].pose_base[1][3]) > 0.75
    assert not plan_of(panda, 1.5).grasps


def test_cups_are_checked_too(panda: Arm) -> None:
    assert plan_of(panda, 0.4, "suction", n_grasps=3).grasps
    far = plan_of(panda, 1.5, "suction", n_grasps=3)
    assert not far.grasps
    assert far.rejections["unreachable"] > 3


def test_what_failed_costs_its_neighbours_quality_before_the_arm_chooses(panda: Arm) -> None:
    first = plan_of(None, 0.45).grasps[0]
    failed = [{"pose_base": first.pose_base, "quality": first.quality}]
    plan = plan_of(panda, 0.45, failed=failed, n_grasps=3)
    free = plan_of(None, 0.45, failed=failed, n_grasps=3)
    assert [grasp.center_px for grasp in plan.grasps] == [grasp.center_px for grasp in free.grasps]


def test_the_file_of_arms_is_read_and_its_mistakes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "arms.json"
    told = {"urdf": str(PANDA), "tool": "panda_hand", "tool_pose": TOOL}
    path.write_text(json.dumps({"*": told, "cell-2": {**told, "base_pose": shifted(np.eye(4), 1.0).tolist()}}))
    arms = read_arms(path)
    pose = straight_down(1.5, 0.0, 0.02, 0.3)
    assert [bool(arms[name].reaches(pose[None], pose[None], False)[0]) for name in ("*", "cell-2")] == [False, True]
    (tmp_path / "no.urdf").write_text("<robot")
    for mistake, says in (
        ({"*": {**told, "tool": "hand"}}, "no link 'hand'.*panda_hand"),
        ({"*": {**told, "urdf": "nowhere.urdf"}}, "no such file"),
        ({"*": {**told, "urdf": "no.urdf"}}, "not a URDF"),
        ({"*": {**told, "base": 1}}, r"\*\.base: Extra inputs"),
    ):
        path.write_text(json.dumps(mistake))
        with pytest.raises(ValueError, match=says):
            read_arms(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_arms(tmp_path / "none.json")
