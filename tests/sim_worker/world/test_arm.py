"""The arm reaches what it can, keeps its joint limits, and grasps as the floating hand does."""

import math

import numpy as np
import pytest

from grasp_client.contract import Gripper
from grasp_client.geometry import approach_frame, invert, transform
from sim_worker.world import Conditions, Profile, Scene, SceneError, SceneSpec, World
from sim_worker.world.grippers.arm import BASE, Arm
from sim_worker.world.grippers.kinematics import HOME, LOWER, UPPER, forward, inverse_from_anywhere, pose_error
from sim_worker.world.objects.objects import Part, PartsModel
from sim_worker.world.simulation.placement import PlacedObject


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


def down(x, y, z, yaw=0.0):
    return approach_frame(np.array([x, y, z]), np.array([math.cos(yaw), math.sin(yaw), 0.0]), np.array([0.0, 0.0, -1.0]))


def cube(world, x, y, yaw):
    spec = SceneSpec(seed=0)
    conditions = Conditions.draw(Profile(friction=(0.5, 0.5)), spec.random("conditions"))
    model = PartsModel("cube", (Part("box", (0.04, 0.04, 0.04)),))
    turn = (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
    return Scene(world.simulation, spec, conditions, [PlacedObject("cube", model, 0.1, None, (x, y, 0.02), turn)])


def test_forward_kinematics_agree_with_the_simulated_arm(world):
    world.simulation.owner = None
    world.physics.reset()
    arm, client = Arm(world.physics, Gripper(), 0.5), world.physics.client
    for joints in np.random.default_rng(0).uniform(LOWER, UPPER, (5, 7)):
        arm._place_base(0.0)
        arm._set_joints(joints)
        finger = client.getLinkState(arm.body, 9, computeForwardKinematics=1)
        hand = np.reshape(client.getMatrixFromQuaternion(finger[5]), (3, 3))
        arm.fingers.open(0.0)
        tip = np.array(client.getLinkState(arm.body, 9, computeForwardKinematics=1)[4]) + 0.0538 * hand[:, 2]
        pose = BASE @ forward(joints)[0]
        assert np.allclose(pose[:3, 3], tip, atol=1e-4)
        assert np.allclose(pose[:3, 0], hand[:, 1], atol=1e-4)
        assert np.allclose(pose[:3, 2], hand[:, 2], atol=1e-4)


def test_inverse_kinematics_reach_the_workspace_within_limits():
    random = np.random.default_rng(1)
    for _ in range(12):
        x, y = random.uniform(-0.13, 0.13, 2)
        target = invert(BASE) @ down(x, y, 0.02, random.uniform(-math.pi / 2, math.pi / 2))
        joints = inverse_from_anywhere(target)
        assert joints is not None
        assert (joints >= LOWER).all()
        assert (joints <= UPPER).all()
        assert np.abs(pose_error(target, forward(joints)[0])).max() < 1e-3


def test_out_of_reach_has_no_solution():
    assert inverse_from_anywhere(invert(BASE) @ down(1.0, 0.0, 0.1)) is None
    assert np.abs(pose_error(forward(HOME)[0], forward(HOME)[0])).max() == 0


def test_arm_grasps_a_cube_and_repeats_itself(world):
    for x, y, yaw in ((0.0, 0.0, 0.3), (0.1, -0.08, 1.4), (-0.1, 0.1, -1.2)):
        results = [cube(world, x, y, yaw).attempt(down(x, y, 0.01, yaw), 0.06, hand="arm") for _ in range(2)]
        assert results[0].success, results[0]
        assert results[0] == results[1]


def test_arm_misses_beside_the_cube_and_names_collisions(world):
    scene = cube(world, 0.0, 0.0, 0.0)
    assert scene.attempt(down(0.0, 0.06, 0.01), 0.06, hand="arm").failure == "missed"
    assert scene.attempt(down(0.0, 0.0, 0.01), 0.036, hand="arm").failure == "collision"


def test_grasp_out_of_reach_is_unreachable(world):
    assert cube(world, 0.0, 0.0, 0.0).attempt(down(0.9, 0.0, 0.05), 0.06, hand="arm").failure == "unreachable"


LONG_JAW = Gripper(max_width=0.11, finger_depth=0.08, finger_width=0.012, finger_thickness=0.008, palm_width=0.14)


@pytest.mark.parametrize("gripper", [Gripper(), Gripper(max_width=0.06), LONG_JAW, Gripper(finger_depth=0.04)])
def test_tips_of_any_jaw_come_to_the_grasp_pose(world, gripper):
    """Seen along the closing axis from between the tips: just above their ends a finger on either side, just below none."""
    world.simulation.owner = None
    world.physics.reset()
    arm, client, pose = Arm(world.physics, gripper, 0.5), world.physics.client, down(0.05, 0.03, 0.02, 0.4)
    arm._place_base(0.0)
    arm._set_joints(arm.reach(pose)[0][-1])
    arm.fingers.open(0.05)
    client.performCollisionDetection()
    for height, hit in ((0.003, True), (-0.003, False)):
        for side in (-0.05, 0.05):
            ends = transform(pose, np.array([[0.0, 0.0, -height], [side, 0.0, -height]]))
            body, _, share, *_ = client.rayTest(*ends.tolist())[0]
            assert (body == arm.body) == hit
            assert not hit or share * 0.05 == pytest.approx(0.025, abs=0.002)


def test_a_mounted_jaw_grasps_what_the_panda_hand_cannot(world):
    wide = PartsModel("wide", (Part("box", (0.095, 0.04, 0.04)),))
    spec = SceneSpec(seed=0)
    placed = [PlacedObject("wide", wide, 0.1, None, (0, 0, 0.02))]
    scene = Scene(world.simulation, spec, cube(world, 0, 0, 0).conditions, placed)
    assert scene.attempt(down(0, 0, 0.01), 0.105, LONG_JAW, hand="arm").success
    assert not scene.attempt(down(0, 0, 0.01), 0.08, Gripper(), hand="arm").success


def test_arm_refuses_a_cup(world):
    with pytest.raises(SceneError, match="parallel_jaw"):
        cube(world, 0.0, 0.0, 0.0).attempt(down(0, 0, 0.04), 0.0, Gripper(kind="suction"), hand="arm")
