"""The Panda hand's own meshes: what the preset's sizes are, and that boxes of these sizes collide as the meshes do."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from grasp_client.contract import Gripper
from grasp_client.geometry import approach_frame
from sim_worker.world import Conditions, Profile, Scene, SceneSpec, World
from sim_worker.world.grippers.mesh_jaw import finger_pieces, mesh_probes, palm_pieces
from sim_worker.world.objects.objects import Part, PartsModel
from sim_worker.world.simulation.collision_probe import ApproachSweep, jaw_probes
from sim_worker.world.simulation.placement import PlacedObject


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


def boxes_of(world, **boxes):
    """A scene of boxes at rest: by name their sides and where they stand (x, y), m."""
    spec = SceneSpec(seed=0)
    conditions = Conditions.draw(Profile(friction=(0.5, 0.5)), spec.random("conditions"))
    placed = [
        PlacedObject(name, PartsModel(name, (Part("box", sides),)), 0.1, None, (x, y, sides[2] / 2), (0.0, 0.0, 0.0, 1.0))
        for name, (sides, x, y) in boxes.items()
    ]
    return Scene(world.simulation, spec, conditions, placed)


def down(x, y, z):
    return approach_frame(np.array([x, y, z]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, -1.0]))


def test_preset_has_the_sizes_of_the_meshes():
    hand = Gripper.model_validate("franka_hand")
    finger, palm = np.vstack(finger_pieces(1)), np.vstack(palm_pieces())
    pad = finger[finger[:, 2] > -hand.pad_depth]
    assert finger[:, 2].max() == pytest.approx(0, abs=1e-4)
    assert -palm[:, 2].max() == pytest.approx(hand.finger_depth, abs=2e-4)
    assert finger[:, 0].max() == pytest.approx(hand.finger_thickness, abs=2e-4)
    assert pad[:, 0].max() == pytest.approx(hand.pad_thickness, abs=2e-4)
    assert finger[:, 0].min() == pytest.approx(0, abs=2e-4)
    assert np.ptp(finger[:, 1]) == pytest.approx(hand.finger_width, abs=2e-4)
    assert np.ptp(palm[:, 0]) == pytest.approx(hand.palm_width, abs=2e-3)
    assert np.ptp(palm[:, 1]) == pytest.approx(hand.palm_thickness, abs=2e-4)
    # 1 mm higher the web begins: the pad's height is that of the mesh.
    assert finger[finger[:, 2] > -hand.pad_depth - 0.001][:, 0].max() > hand.pad_thickness + 5e-4


def test_meshes_hold_what_boxes_hold(world):
    scene = boxes_of(world, cube=((0.04, 0.04, 0.04), 0.0, 0.0))
    told = Gripper.model_validate("robotiq_2f_140")
    assert scene.attempt(down(0, 0, 0.01), 0.06, told, hand="mesh").success
    assert scene.attempt(down(0, 0, 0.01), 0.036, told, hand="mesh").failure == "collision"
    assert scene.attempt(down(0, 0, 0.01), 0.1, told, hand="mesh").failure == "unreachable"
    assert scene.attempt(down(0, 0, -0.002), 0.06, told, hand="mesh").object_name == "table"


@pytest.mark.parametrize("hand", ["floating", "mesh"])
@pytest.mark.parametrize(("height", "beside", "failure"), [(0.05, 0.02, "collision"), (0.05, 0.03, None), (0.02, 0.02, None)])
def test_finger_is_thick_above_its_pad(world, hand, height, beside, failure):
    """A neighbour 20 mm beside the opening is clear of the pad and, where it is tall, not of the finger above."""
    neighbour = ((0.04, 0.04, height), 0.03 + beside + 0.02, 0.0)
    scene = boxes_of(world, cube=((0.04, 0.04, 0.04), 0.0, 0.0), neighbour=neighbour)
    result = scene.attempt(down(0, 0, 0.01), 0.06, Gripper(), hand=hand)
    assert (result.failure, result.object_name) == (failure, "neighbour" if failure else "cube")


def agreement(world, count, seed):
    """How often, near random boxes and cylinders, the open hand of boxes and that of meshes are free or blocked: both free,
    both blocked, boxes alone blocked, meshes alone blocked."""
    random, counts = np.random.default_rng(seed), np.zeros(4, int)
    world.simulation.owner = None
    physics = world.physics
    physics.reset()
    sweep, client = ApproachSweep(physics), physics.client
    for _ in range(count):
        opening, lean = random.uniform(0.02, 0.08), random.uniform(-0.35, 0.35, 2)
        sides = random.uniform([0.01, 0.01, 0.01], [0.05, 0.05, 0.12])
        if random.random() < 0.5:
            shape = client.createCollisionShape(client.GEOM_BOX, halfExtents=(sides / 2).tolist())
        else:
            shape = client.createCollisionShape(client.GEOM_CYLINDER, radius=sides[0] / 2, height=sides[2])
        turn = Rotation.from_euler("zyx", [random.uniform(-math.pi, math.pi), *lean])
        place = random.uniform([-0.07, -0.035, -0.05], [0.07, 0.035, 0.02])
        body = client.createMultiBody(0, shape, -1, place.tolist(), turn.as_quat().tolist())
        boxes, meshes = (
            sweep.hit(probes, np.eye(4), {body: 0.0}) is not None
            for probes in (jaw_probes(Gripper(), opening), mesh_probes(opening))
        )
        counts[{(False, False): 0, (True, True): 1, (True, False): 2, (False, True): 3}[boxes, meshes]] += 1
        client.removeBody(body)
    return counts


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_boxes_collide_as_the_meshes_do(world, count):
    free, blocked, _, careless = agreement(world, count, seed=count)
    assert min(free, blocked) > 0.1 * count
    assert (free + blocked) / count >= 0.85
    assert careless <= 0.01 * count
