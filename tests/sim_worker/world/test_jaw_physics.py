"""A jaw believes in geometry and friction: what must hold of the simplest grasps."""

import math

import numpy as np
import pytest

from grasp_client.contract import Gripper
from grasp_client.geometry import approach_frame
from sim_worker.world import Conditions, Profile, Scene, SceneSpec, World
from sim_worker.world.objects.objects import Part, PartsModel
from sim_worker.world.simulation.physics import ATTEMPT_HZ
from sim_worker.world.simulation.placement import PlacedObject


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


def block(world, size=0.04, mass=0.1, friction=0.5, xy=(0.0, 0.0), yaw=0.0):
    """A scene of one cube of `size` m at a known pose."""
    spec = SceneSpec(seed=0)
    conditions = Conditions.draw(Profile(friction=(friction, friction)), spec.random("conditions"))
    model = PartsModel("cube", (Part("box", (size, size, size)),))
    turn = (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
    return Scene(world.simulation, spec, conditions, [PlacedObject("cube", model, mass, None, (*xy, size / 2), turn)])


def from_above(x, y, z, yaw=0.0):
    return approach_frame(np.array([x, y, z]), np.array([math.cos(yaw), math.sin(yaw), 0.0]), np.array([0.0, 0.0, -1.0]))


def perfect_grasps(world, count):
    random = np.random.default_rng(7)
    for _ in range(count):
        x, y, yaw = *random.uniform(-0.08, 0.08, 2), random.uniform(-math.pi, math.pi)
        yield block(world, xy=(x, y), yaw=yaw), x, y, yaw


def test_perfect_grasp_of_a_cube_succeeds(world):
    results = [scene.attempt(from_above(x, y, 0.01, yaw), 0.06) for scene, x, y, yaw in perfect_grasps(world, 12)]
    assert [result.failure for result in results] == [None] * 12
    assert all(result.object_name == "cube" and result.details["rise"] >= 0.10 for result in results)


@pytest.mark.slow
def test_perfect_grasp_succeeds_199_of_200_and_never_off_by_6_cm(world):
    successes = misses = 0
    for scene, x, y, yaw in perfect_grasps(world, 200):
        successes += scene.attempt(from_above(x, y, 0.01, yaw), 0.06).success
        angle = yaw * 5
        misses += not scene.attempt(from_above(x + 0.06 * math.cos(angle), y + 0.06 * math.sin(angle), 0.01, yaw), 0.06).success
    assert successes >= 198
    assert misses == 200


def test_grasp_off_by_6_cm_misses_or_collides(world):
    scene = block(world)
    assert scene.attempt(from_above(0, 0.06, 0.01), 0.06).failure == "missed"
    assert scene.attempt(from_above(0.06, 0, 0.01), 0.08).failure == "collision"


@pytest.mark.parametrize("rule", ["strict", "allowed"])
def test_jaw_narrower_than_the_object_never_succeeds(world, rule):
    scene = block(world)
    for width in (0.02, 0.03, 0.036, 0.038, 0.0385):
        assert not scene.attempt(from_above(0, 0, 0.01), width, contact_rule=rule).success


def test_heavy_steel_slips_at_low_friction_but_not_at_high(world):
    assert block(world, 0.063, mass=2.0, friction=0.3).attempt(from_above(0, 0, 0.02), 0.08).failure == "slipped"
    assert block(world, 0.063, mass=2.0, friction=1.0).attempt(from_above(0, 0, 0.02), 0.08).success


def test_tips_below_the_table_collide(world):
    result = block(world).attempt(from_above(0, 0, -0.002), 0.06)
    assert (result.failure, result.object_name, result.simulated_seconds) == ("collision", "table", 0.0)


def test_contact_less_than_the_tolerance_is_no_collision(world):
    scene = block(world)
    assert scene.attempt(from_above(0, 0, 0.01), 0.0392).success
    assert scene.attempt(from_above(0, 0, 0.01), 0.0380).failure == "collision"


def test_tool_frame_behind_the_tips(world):
    pose = from_above(0, 0, 0.11)
    assert block(world).attempt(pose, 0.06, Gripper(tcp_offset=0.10)).success
    assert block(world).attempt(pose, 0.06, Gripper()).failure == "missed"


def test_wider_than_the_jaw_opens_is_unreachable(world):
    assert block(world).attempt(from_above(0, 0, 0.01), 0.09).failure == "unreachable"


def test_hand_of_other_sizes_collides_where_the_default_does_not(world):
    scene = block(world, xy=(0.0, 0.0))
    assert scene.attempt(from_above(0, 0, 0.01), 0.06).success
    shallow = Gripper(finger_depth=0.025)
    assert scene.attempt(from_above(0, 0, 0.01), 0.06, shallow).failure == "collision"


@pytest.mark.parametrize("degrees", [10, 20, 30])
def test_tilted_approach_holds_and_lifts_straight_up(world, degrees):
    lean = math.radians(degrees)
    pose = approach_frame(np.array([0, 0, 0.02]), np.array([0, 1.0, 0]), np.array([math.sin(lean), 0, -math.cos(lean)]))
    assert block(world).attempt(pose, 0.06).success


def test_grip_force_is_what_was_asked_for(world):
    scene = block(world)
    assert scene.attempt(from_above(0, 0, 0.01), 0.06).success
    hand = world.simulation.state.hand
    for link in hand.fingers.links:
        with world.physics.finer(ATTEMPT_HZ):
            points = world.physics.client.getContactPoints(bodyA=hand.body, linkIndexA=link)
        assert sum(point[9] for point in points) == pytest.approx(20.0, rel=0.1)


def test_heaviest_block_is_that_of_coulomb(world):
    """2 mu F = m (g + a): 1.56 kg with 20 N per finger, friction 0.5, lifted at 3 m/s2."""
    most = 2 * 0.5 * 20.0 / (9.81 + 3.0)
    assert block(world, 0.06, mass=0.85 * most).attempt(from_above(0, 0, 0.02), 0.08).success
    assert block(world, 0.06, mass=1.25 * most).attempt(from_above(0, 0, 0.02), 0.08).failure == "slipped"
