"""Shelves and leaning things: they settle and replay, what is drawn is what is hit, and hands carry out what they hold."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from grasp_client.contract import Gripper
from grasp_client.geometry import approach_frame, deproject, transform
from sim_worker.grasp_poses import DOWN, top_down
from sim_worker.world import SceneError, SceneSpec, World
from sim_worker.world.grippers.attempt import OUT_SLOPE, retreat
from sim_worker.world.simulation.shelves import LEAN

BOX = "box/50x50x60"


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


def shelf_seed(pod: bool) -> int:
    for seed in range(100):
        shelf = SceneSpec(seed=seed, kind="shelf").shelf
        assert shelf is not None
        if shelf.pod == pod:
            return seed
    raise AssertionError("no such shelf in a hundred")


@pytest.mark.parametrize("pod", [False, True], ids=["boards", "pod"])
def test_a_shelf_scene_settles_inside_is_seen_and_replays(world, pod):
    spec = SceneSpec(seed=shelf_seed(pod), kind="shelf", profile="standard", count=3, object_set="procedural")
    scene, shelf = world.build(spec), spec.shelf
    inside = [(np.array(placed.position) - [*shelf.centre, 0]) @ shelf.pose[:3, :3] for placed in scene.placed]
    assert all((np.abs(place[:2]) <= shelf.half).all() and 0 < place[2] < shelf.inner[2] for place in inside)
    view = scene.observe()
    assert [bool((view.segmentation == number + 1).sum() > 60) for number in range(len(inside))] == [True] * len(inside)
    assert LEAN[0] - 0.01 <= math.acos(-view.camera_pose[2, 2]) <= LEAN[1] + 0.01
    assert view.camera_pose[2, 1] < -0.8, "up is up in the picture"
    other = World()
    assert other.build(spec).hash() == scene.hash()
    other.close()


def test_what_is_drawn_of_the_pod_is_what_hands_hit(world):
    scene = world.build(SceneSpec(seed=shelf_seed(pod=True), kind="shelf", count=1, object_set="procedural"))
    view = scene.observe()
    v, u = (each.ravel()[::211] for each in np.mgrid[: view.exact_depth.shape[0], : view.exact_depth.shape[1]])
    depth = view.exact_depth[v, u]
    points = transform(view.true_camera_pose, deproject(np.stack([u, v], 1), depth, view.camera))[depth > 0]
    eye = view.true_camera_pose[:3, 3]
    beyond = points + 0.5 * (points - eye)
    hits = world.physics.client.rayTestBatch([eye.tolist()] * len(points), beyond.tolist())
    off = [float(np.linalg.norm(np.array(hit[3]) - point)) for hit, point in zip(hits, points, strict=True)]
    assert np.mean(np.array(off) < 0.002) > 0.98


def test_nothing_comes_from_above_into_a_shelf_but_from_its_open_side(world):
    taken, held = [], []
    for seed in range(6):
        scene = world.build(SceneSpec(seed=seed, kind="shelf", objects=(BOX,)))
        shelf, [box] = scene.spec.shelf, scene.placed
        place, aside = np.array(box.position[:2]), shelf.pose[:2, 0]
        beside = place + math.copysign(0.1, (shelf.centre - place) @ aside) * aside
        above = scene.attempt(top_down(beside, 0.02, 0.0), 0.07)
        assert (above.failure, above.object_name) == ("collision", "shelf")
        level = [axis for axis in Rotation.from_quat(box.orientation).as_matrix().T if abs(axis[2]) < 0.1]
        inward, closing = sorted(level, key=lambda axis: -abs(axis @ shelf.pose[:3, 1]))
        approach = math.copysign(math.sin(1.25), inward @ shelf.pose[:3, 1]) * inward + math.cos(1.25) * DOWN
        taken.append(scene.attempt(approach_frame(np.array(box.position) + 0.01 * approach, closing, approach), 0.07))
        held = [result for result in taken if result.success]
        if len(held) >= 3:
            break
    assert len(held) >= 3, taken
    assert all(result.details["carry"] == "out" for result in held)
    assert {result.object_name for result in taken if not result.success} <= {"shelf", "table", None}, "turned to a wall"


def test_which_way_a_hand_carries_what_it_holds():
    lean = approach_frame(np.zeros(3), np.array([0.0, 1.0, 0.0]), np.array([math.sin(0.5), 0.0, -math.cos(0.5)]))
    level = approach_frame(np.zeros(3), np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]))
    down = approach_frame(np.zeros(3), np.array([0.0, 1.0, 0.0]), DOWN)
    up = [0.0, 0.0, 1.0]
    assert retreat(lean, "up").tolist() == up
    assert retreat(lean, "approach") == pytest.approx(-lean[:3, 2])
    assert retreat(lean, "up_beyond_60") == pytest.approx(-lean[:3, 2])
    assert retreat(level, "up_beyond_60").tolist() == up
    way = retreat(lean, "out")
    assert way[2] / -way[0] == pytest.approx(OUT_SLOPE)
    assert np.linalg.norm(way) == pytest.approx(1.0)
    assert retreat(down, "out").tolist() == up


def test_a_thing_is_carried_back_along_the_approach_and_an_arm_lifts_straight_up(world):
    scene = world.build(SceneSpec(seed=2, kind="single", objects=(BOX,), upright=True))
    [box] = scene.placed
    turn = Rotation.from_quat(box.orientation).as_matrix()
    approach = math.cos(0.7) * DOWN + math.sin(0.7) * turn[:, 0]
    pose = approach_frame(np.array(box.position) + 0.02 * turn[:, 2], turn[:, 1], approach)
    back, up = scene.attempt(pose, 0.07, carry="approach"), scene.attempt(pose, 0.07)
    assert back.success
    assert up.success
    assert "carry" not in up.details
    with pytest.raises(SceneError, match="straight up"):
        scene.attempt(pose, 0.07, Gripper(), "arm", carry="approach")


def test_things_lean_against_the_walls_of_a_bin(world):
    leans = []
    for seed in range(3):
        scene = world.build(SceneSpec(seed=seed, kind="leaning", objects=("box/30x40x160",) * 3))
        for placed in scene.placed:
            along = abs(Rotation.from_quat(placed.orientation).as_matrix()[2].max())
            leans.append(math.degrees(math.acos(min(1.0, along))))
    assert any(10 < lean < 80 for lean in leans)
    assert SceneSpec(seed=0, kind="leaning").bin is not None
