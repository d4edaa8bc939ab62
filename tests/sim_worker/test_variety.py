"""Scenes that draw hands and cameras by their seed: what comes of it, that it is varied, and that it replays."""

import math

import numpy as np
import pytest

from grasp_client.contract import Gripper
from sim_worker.sampling.variety import AT_SIDE, CAMERAS, HANDS, LEAST_DISTANCE, OPENINGS, seen_from, varied
from sim_worker.world import PROFILES, Conditions, SceneSpec, World
from sim_worker.world.camera.camera import camera_poses
from sim_worker.world.objects.objects import middle_side
from sim_worker.world.simulation.spec import USUAL_SPAN

BOTH = ("hands", "cameras")
DRAWN = [varied(SceneSpec(seed=seed, vary=BOTH), Gripper()) for seed in range(400)]


def test_a_scene_that_is_not_asked_to_vary_stays_as_it_is():
    spec, hand = SceneSpec(seed=3), Gripper(max_width=0.05)
    assert varied(spec, hand) == (spec, hand)


def test_the_seed_alone_decides():
    assert DRAWN[7] == varied(SceneSpec(seed=7, vary=BOTH), Gripper())
    assert DRAWN[7] != DRAWN[8]


def test_hands_of_every_opening_are_drawn_and_most_are_like_the_own():
    openings = np.array([hand.max_width for _, hand in DRAWN])
    assert openings.min() < 0.01
    assert openings.max() > 0.13
    assert OPENINGS[0] <= openings.min() <= openings.max() <= max(OPENINGS[1], 0.14)
    alike = np.mean((openings >= 0.064) & (openings <= 0.096))
    assert HANDS["own"] + HANDS["like it"] - 0.08 < alike < 0.85
    assert np.mean([hand == Gripper() for _, hand in DRAWN]) == pytest.approx(HANDS["own"], abs=0.1)


def test_objects_are_of_the_size_of_small_and_of_large_hands():
    for spec, hand in DRAWN:
        if spec.object_span:
            assert spec.object_span == pytest.approx((0.3 * hand.max_width, 0.9 * hand.max_width))
        else:
            assert 0.06 <= hand.max_width <= 0.10
    assert 0.2 < np.mean([spec.object_span is not None for spec, _ in DRAWN]) < 0.75


def test_cameras_are_near_and_far_and_tilted():
    own_size = [spec for spec, _ in DRAWN if spec.object_span is None]
    usual = np.mean([spec.camera.lean is None for spec in own_size])
    assert usual == pytest.approx(CAMERAS["usual"], abs=0.12)
    leans = [math.degrees(spec.camera.lean[0]) for spec in own_size if spec.camera.lean]
    distances = [spec.camera.distance for spec, _ in DRAWN]
    assert max(leans) > 40
    assert min(distances) >= LEAST_DISTANCE
    assert max(distances) > 1.8
    assert all(spec.camera.width <= 1000 and spec.camera.height <= 1000 for spec, _ in DRAWN)


def test_a_view_is_drawn_by_the_seed_and_the_usual_one_is_the_default_camera():
    spec = SceneSpec(seed=4, kind="pile")
    tilted, near = seen_from(spec, "tilted").camera, seen_from(spec, "near").camera
    assert seen_from(spec, "usual") == spec
    assert seen_from(spec, "tilted").camera == tilted
    assert 20 <= math.degrees(tilted.lean[0]) <= 45
    assert near.distance < 0.36


def test_a_cup_stays_a_cup_and_its_objects_their_size():
    for seed in range(30):
        spec, hand = varied(SceneSpec(seed=seed, vary=BOTH), Gripper(kind="suction"))
        assert hand.kind == "suction"
        assert spec.object_span is None


def test_a_bin_is_met_with_hands_of_the_usual_size():
    drawn = [varied(SceneSpec(seed=seed, kind="bin", vary=BOTH), Gripper()) for seed in range(60)]
    assert all(0.06 <= hand.max_width <= 0.10 for _, hand in drawn)
    assert len({hand.max_width for _, hand in drawn}) > 5


@pytest.mark.parametrize("opening", [0.01, 0.14])
def test_a_scene_of_scaled_objects_settles_in_sight_and_replays(opening):
    span = (0.3 * opening, 0.9 * opening)
    asked = SceneSpec(seed=5, kind="pile", profile="standard", count=3, object_span=span)
    spec, _ = varied(asked, Gripper())
    assert spec.scale == pytest.approx(span[1] / USUAL_SPAN)
    worlds = World(), World()
    scenes = [world.build(spec) for world in worlds]
    sides = [middle_side(placed.model) for placed in scenes[0].placed]
    seen = [(scenes[0].observe().segmentation == number + 1).sum() for number in range(len(sides))]
    assert scenes[0].hash() == scenes[1].hash()
    for world in worlds:
        world.close()
    assert all(0.95 * span[0] - 0.001 <= side <= 1.05 * span[1] + 0.001 for side in sides)
    assert max(seen) > 60


def test_small_objects_have_no_meshes_and_are_light():
    world = World()
    scene = world.build(SceneSpec(seed=1, kind="pile", profile="standard", object_span=(0.003, 0.009)))
    world.close()
    assert all(name.startswith("procedural/") for name in scene.objects)
    assert all(placed.mass is not None and placed.mass < 0.05 for placed in scene.placed)


def test_cameras_at_the_side_are_drawn_where_asked_and_nothing_else_changes_by_it():
    asked = [varied(SceneSpec(seed=seed, vary=(*BOTH, "sides")), Gripper()) for seed in range(200)]
    at_side = [spec.camera for spec, _ in asked if spec.camera.lean and spec.camera.lean[0] > math.radians(45.001)]
    assert np.mean([camera in at_side for camera in (spec.camera for spec, _ in asked)]) == pytest.approx(AT_SIDE, abs=0.1)
    assert max(camera.lean[0] for camera in at_side) <= math.radians(75)
    others = [pair for pair in zip(asked, DRAWN, strict=False) if pair[0][0].camera not in at_side]
    assert all(one[0].camera == other[0].camera and one[1] == other[1] for one, other in others)


def test_a_side_camera_may_have_the_lean_that_a_protocol_names_and_stands_upright():
    camera = seen_from(SceneSpec(seed=3, kind="pile"), "side_640", math.radians(60)).camera
    assert (camera.width, camera.height, camera.distance) == (640, 480, 0.6)
    assert camera.focal == pytest.approx(540)
    pose, _ = camera_poses(camera, Conditions.draw(PROFILES["clean"], np.random.default_rng(0)))
    assert math.degrees(math.acos(-pose[2, 2])) == pytest.approx(60)
    assert pose[2, 0] == pytest.approx(0, abs=1e-9)
    assert pose[2, 1] < 0
    with pytest.raises(ValueError, match="drawn with it"):
        seen_from(SceneSpec(seed=3, kind="shelf"), "side")
