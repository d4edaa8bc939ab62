"""A cup seals on what is flat and close, and carries what its vacuum can."""

import numpy as np
import pytest

from grasp_client.contract import Gripper
from grasp_client.geometry import approach_frame
from sim_worker.world import Conditions, Profile, Scene, SceneSpec, World
from sim_worker.world.objects.objects import Part, PartsModel
from sim_worker.world.simulation.placement import PlacedObject

CUP = Gripper(kind="suction", cup_radius=0.015)
PLATE, SMALL_BALL, BULB = Part("box", (0.1, 0.1, 0.01)), Part("sphere", (0.01,)), Part("sphere", (0.03,))
LYING = (0.0, np.sqrt(0.5), 0.0, np.sqrt(0.5))


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


def alone(world, parts, mass, z, seed=0):
    spec = SceneSpec(seed=seed)
    conditions = Conditions.draw(Profile(friction=(0.5, 0.5)), spec.random("conditions"))
    placed = PlacedObject("thing", PartsModel("thing", parts if isinstance(parts, tuple) else (parts,)), mass, None, (0, 0, z))
    return Scene(world.simulation, spec, conditions, [placed])


def above(x, y, z, lean=0.0):
    return approach_frame(np.array([x, y, z]), np.array([0, 1.0, 0]), np.array([np.sin(lean), 0, -np.cos(lean)]))


def test_holds_on_a_flat_plate(world):
    scene = alone(world, PLATE, 0.2, 0.005)
    results = [scene.attempt(above(x, y, 0.01), 0.0, CUP) for x in (-0.03, 0.0, 0.03) for y in (-0.02, 0.0, 0.03)]
    assert all(result.success and result.details["rise"] >= 0.10 for result in results)


def test_fails_on_a_ball_smaller_than_the_cup(world):
    assert alone(world, SMALL_BALL, 0.05, 0.01).attempt(above(0, 0, 0.02), 0.0, CUP).failure == "missed"


@pytest.mark.parametrize(
    ("part", "top", "compliance", "seals"),
    [
        (BULB, 0.06, None, True),
        (BULB, 0.06, 0.001, False),
        (Part("cylinder", (0.033, 0.12), orientation=LYING), 0.066, None, True),
        (Part("cylinder", (0.033, 0.12), orientation=LYING), 0.066, 0.001, False),
        (Part("cylinder", (0.02, 0.12), orientation=LYING), 0.04, None, False),
    ],
)
def test_lip_follows_what_its_compliance_allows(world, part, top, compliance, seals):
    cup = CUP.model_copy(update={"seal_compliance": compliance})
    result = alone(world, part, 0.1, top / 2).attempt(above(0, 0, top - 0.001), 0.0, cup)
    assert (result.success, result.failure) == ((True, None) if seals else (False, "missed"))


@pytest.mark.parametrize(("compliance", "seals"), [(0.0025, True), (0.001, False)])
def test_compliant_lip_also_follows_a_slanted_surface(world, compliance, seals):
    cup = CUP.model_copy(update={"seal_compliance": compliance})
    result = alone(world, Part("box", (0.2, 0.2, 0.05)), 0.2, 0.025).attempt(above(0, 0, 0.051, 0.35), 0.0, cup)
    assert result.success == seals, result


def test_what_slants_high_above_its_foot_tips_under_the_cup(world):
    base, top = Part("box", (0.06, 0.06, 0.12)), Part("sphere", (0.03,), (0, 0, 0.06))
    centre = 0.06 + 0.06 * top.volume / (base.volume + top.volume)
    tall = alone(world, (base, top), 0.1, centre)
    crown, side = (
        tall.attempt(above(-0.03 * np.sin(lean), 0, 0.12 + 0.03 * np.cos(lean), lean), 0.0, CUP) for lean in (0.0, 0.8)
    )
    assert crown.success
    assert (side.failure, side.details["reason"]) == ("missed", "gave way to the cup")


@pytest.mark.parametrize(
    ("part", "pose"),
    [
        (BULB, above(0, 0, 0.055)),
        (Part("box", (0.2, 0.2, 0.05)), above(0, 0, 0.05, 0.36)),
    ],
)
def test_face_that_comes_into_the_cup_as_far_as_its_lip_moves_is_no_collision(world, part, pose):
    top = 0.06 if part is BULB else 0.05
    result = alone(world, part, 0.1, top / 2).attempt(pose, 0.0, CUP)
    assert result.success, result


def test_rest_of_the_thing_beside_the_face_is_a_collision(world):
    step = (Part("box", (0.1, 0.1, 0.02), (0, 0, 0.01)), Part("box", (0.02, 0.1, 0.02), (0.02, 0, 0.03)))
    centre = (0.01 * step[0].volume + 0.03 * step[1].volume) / (step[0].volume + step[1].volume)
    result = alone(world, step, 0.2, centre).attempt(above(0, 0, 0.02), 0.0, CUP)
    assert (result.failure, result.object_name) == ("collision", "thing")


def test_rim_over_the_edge_does_not_seal(world):
    assert alone(world, PLATE, 0.2, 0.005).attempt(above(0.04, 0, 0.01), 0.0, CUP).failure == "missed"


def test_oblique_cup_does_not_seal(world):
    result = alone(world, Part("box", (0.1, 0.1, 0.05)), 0.2, 0.025).attempt(above(0, 0, 0.05, 0.48), 0.0, CUP)
    assert (result.failure, result.details["reason"]) == ("missed", "too oblique")


def test_breaks_away_under_more_than_its_force(world):
    force = 60e3 * np.pi * 0.015**2
    assert alone(world, PLATE, 0.5 * force / 9.81, 0.005).attempt(above(0, 0, 0.01), 0.0, CUP).success
    assert alone(world, PLATE, 1.2 * force / 9.81, 0.005).attempt(above(0, 0, 0.01), 0.0, CUP).failure == "slipped"


def test_peels_off_a_heavy_plate_taken_at_its_edge(world):
    scene = alone(world, Part("box", (0.3, 0.1, 0.01)), 2.0, 0.005)
    assert scene.attempt(above(0, 0, 0.01), 0.0, CUP).success
    assert scene.attempt(above(0.13, 0, 0.01), 0.0, CUP).failure == "slipped"


def test_moment_that_the_gripper_tells_decides_what_peels(world):
    scene = alone(world, PLATE, 0.5, 0.005)
    told = [CUP.model_copy(update={"cup_moment": moment}) for moment in (0.08, 0.12)]
    assert [scene.attempt(above(0.02, 0, 0.01), 0.0, cup).success for cup in told] == [False, True]


def test_untold_moment_is_drawn_per_scene_between_half_and_all_of_force_times_radius(world):
    most = 60e3 * np.pi * 0.015**3
    shares = []
    for seed in range(4):
        scene = alone(world, PLATE, 0.2, 0.005, seed)
        shares.append(scene.attempt(above(0, 0, 0.01), 0.0, CUP).details["moment"] / most)
        assert shares[-1] == pytest.approx(scene.conditions.flat()["cup_lever"], abs=1e-3)
    assert 0.5 <= min(shares) < max(shares) <= 1


def test_neighbour_in_the_way_is_a_collision(world):
    tall = PlacedObject("wall", PartsModel("wall", (Part("box", (0.02, 0.1, 0.1)),)), 0.5, None, (0.03, 0, 0.05))
    plate = PlacedObject("plate", PartsModel("plate", (Part("box", (0.03, 0.1, 0.01)),)), 0.2, None, (0, 0, 0.005))
    spec = SceneSpec(seed=0)
    conditions = Conditions.draw(Profile(friction=(0.5, 0.5)), spec.random("conditions"))
    result = Scene(world.simulation, spec, conditions, [plate, tall]).attempt(above(0.01, 0, 0.01), 0.0, CUP)
    assert (result.failure, result.object_name) == ("collision", "wall")
