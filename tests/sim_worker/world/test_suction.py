"""A cup seals on what is flat and close, and carries what its vacuum can."""

import numpy as np
import pytest

from grasp_client.contract import Gripper
from grasp_client.geometry import approach_frame
from sim_worker.world import Conditions, Profile, Scene, SceneSpec, World
from sim_worker.world.objects.objects import Part, PartsModel
from sim_worker.world.simulation.placement import PlacedObject

CUP = Gripper(kind="suction", cup_radius=0.015)
PLATE, SMALL_BALL, LARGE_BALL = Part("box", (0.1, 0.1, 0.01)), Part("sphere", (0.01,)), Part("sphere", (0.2,))


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


def alone(world, part, mass, z):
    spec = SceneSpec(seed=0)
    conditions = Conditions.draw(Profile(friction=(0.5, 0.5)), spec.random("conditions"))
    placed = PlacedObject("thing", PartsModel("thing", (part,)), mass, None, (0, 0, z))
    return Scene(world.simulation, spec, conditions, [placed])


def above(x, y, z, lean=0.0):
    return approach_frame(np.array([x, y, z]), np.array([0, 1.0, 0]), np.array([np.sin(lean), 0, -np.cos(lean)]))


def test_holds_on_a_flat_plate(world):
    scene = alone(world, PLATE, 0.2, 0.005)
    results = [scene.attempt(above(x, y, 0.01), 0.0, CUP) for x in (-0.03, 0.0, 0.03) for y in (-0.02, 0.0, 0.03)]
    assert all(result.success and result.details["rise"] >= 0.10 for result in results)


def test_fails_on_a_ball_smaller_than_the_cup(world):
    assert alone(world, SMALL_BALL, 0.05, 0.01).attempt(above(0, 0, 0.02), 0.0, CUP).failure == "missed"


def test_lip_follows_a_gentle_curve(world):
    assert alone(world, LARGE_BALL, 0.3, 0.2).attempt(above(0, 0, 0.4), 0.0, CUP).success


def test_rim_over_the_edge_does_not_seal(world):
    assert alone(world, PLATE, 0.2, 0.005).attempt(above(0.04, 0, 0.01), 0.0, CUP).failure == "missed"


def test_oblique_cup_does_not_seal(world):
    result = alone(world, Part("box", (0.1, 0.1, 0.05)), 0.2, 0.025).attempt(above(0, 0, 0.05, 0.4), 0.0, CUP)
    assert result.failure in ("missed", "collision")


def test_breaks_away_under_more_than_its_force(world):
    force = 60e3 * np.pi * 0.015**2
    assert alone(world, PLATE, 0.5 * force / 9.81, 0.005).attempt(above(0, 0, 0.01), 0.0, CUP).success
    assert alone(world, PLATE, 1.2 * force / 9.81, 0.005).attempt(above(0, 0, 0.01), 0.0, CUP).failure == "slipped"


def test_peels_off_a_heavy_plate_taken_at_its_edge(world):
    scene = alone(world, Part("box", (0.3, 0.1, 0.01)), 2.0, 0.005)
    assert scene.attempt(above(0, 0, 0.01), 0.0, CUP).success
    assert scene.attempt(above(0.13, 0, 0.01), 0.0, CUP).failure == "slipped"


def test_neighbour_in_the_way_is_a_collision(world):
    tall = PlacedObject("wall", PartsModel("wall", (Part("box", (0.02, 0.1, 0.1)),)), 0.5, None, (0.03, 0, 0.05))
    plate = PlacedObject("plate", PartsModel("plate", (Part("box", (0.03, 0.1, 0.01)),)), 0.2, None, (0, 0, 0.005))
    spec = SceneSpec(seed=0)
    conditions = Conditions.draw(Profile(friction=(0.5, 0.5)), spec.random("conditions"))
    result = Scene(world.simulation, spec, conditions, [plate, tall]).attempt(above(0.01, 0, 0.01), 0.0, CUP)
    assert (result.failure, result.object_name) == ("collision", "wall")
