"""Approaches that a planner is told: by a protocol, of a shelf, or drawn for a collection."""

import math

import numpy as np
import pytest

from grasp_client.contract import GraspPlan, Gripper
from grasp_client.geometry import deproject, invert, transform
from sim_worker.benchmark.trials import Protocol
from sim_worker.planner_request import FROM_BOARDS, planning_request
from sim_worker.planners import NamedPlanner
from sim_worker.sampling.approaches import INTO_SHELF, MOST_ANY, drawn_approach, heading
from sim_worker.tasks.labels import Mix, candidates
from sim_worker.world import SceneSpec, World


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


class Listening:
    """Finds nothing, and remembers what it was asked."""

    def __init__(self):
        self.sent = []

    def plan(self, observation, request):
        self.sent.append(request)
        return GraspPlan(planner="listening", grasps=[])


def lean(axis) -> float:
    return math.acos(-axis[2] / math.hypot(*axis))


def test_a_protocol_names_camera_approach_and_way_to_carry(world):
    protocol = Protocol(
        kind="single", object_set="procedural", view="side_640", lean=70.0, approach=60.0, within=8.0, carry="up_beyond_60"
    )
    spec = protocol.spec(0, 0)
    view = world.build(spec).observe()
    assert math.degrees(math.acos(-view.camera_pose[2, 2])) == pytest.approx(70, abs=0.5)
    told = protocol.told(view)
    assert math.degrees(lean(told.axis)) == pytest.approx(60)
    assert math.degrees(told.max_angle) == pytest.approx(8)
    ahead = view.camera_pose[:2, 2] / np.linalg.norm(view.camera_pose[:2, 2])
    assert np.array(told.axis[:2]) / math.sin(lean(told.axis)) == pytest.approx(ahead, abs=0.01)
    asked = {
        name: planning_request(view, spec, Gripper(), 5, name, approach=told).request.approach for name in ("tilted", "dense")
    }
    assert asked == {"tilted": told, "dense": None}
    assert Protocol(kind="single").told(view) is None


def test_of_a_shelf_the_way_in_and_what_lies_in_it_are_told(world):
    spec = SceneSpec(seed=3, kind="shelf", profile="standard", count=2, object_set="procedural")
    scene, shelf = world.build(spec), spec.shelf
    view = scene.observe()
    asked = planning_request(view, spec, Gripper(), 5, "tilted")
    axis = shelf.pose[:3, :3].T @ asked.request.approach.axis
    assert (lean(axis), asked.request.approach.max_angle) == pytest.approx(INTO_SHELF)
    assert axis[:2] == pytest.approx([0, math.sin(INTO_SHELF[0])], abs=1e-9)
    mask = asked.observation.segmask
    v, u = np.nonzero(mask)
    points = deproject(np.stack([u, v], 1), asked.observation.depth[v, u], view.camera)
    inside = transform(invert(shelf.pose) @ view.camera_pose, points)
    assert (np.abs(inside[:, :2]) <= np.array(shelf.half) - FROM_BOARDS + 1e-6).all()
    assert (inside[:, 2] < shelf.inner[2]).all()
    things = view.segmentation > 0
    assert (mask & things).sum() > 0.8 * things.sum()


def test_a_collection_draws_approaches_for_the_planners_that_keep_to_them(world):
    spec = SceneSpec(seed=1, kind="single", object_set="procedural")
    scene = world.build(spec)
    view = scene.observe()
    drawn = [drawn_approach(SceneSpec(seed=seed), view) for seed in range(200)]
    told = [each for each in drawn if each is not None]
    assert 0.1 < np.mean([each is None for each in drawn]) < 0.3
    assert 0.3 < np.mean([each.max_angle == MOST_ANY for each in told]) < 0.8
    assert max(lean(each.axis) for each in told) > math.radians(70)
    planner, mix = Listening(), Mix(random=0, edges=0, feasible=3, on_policy=0)
    for tilts in (True, False):
        candidates(scene, mix, NamedPlanner("tilted", planner, "tilted"), None, Gripper(), tilts=tilts)
    assert [request.approach for request in planner.sent] == [drawn_approach(spec, view), None]
    assert drawn_approach(spec, view) is not None


def test_ahead_of_a_camera_that_looks_down_is_the_top_of_its_picture(world):
    view = world.build(SceneSpec(seed=1, kind="single", object_set="procedural")).observe()
    top = -np.asarray(view.camera_pose)[:2, 1]
    assert [math.cos(heading(view)), math.sin(heading(view))] == pytest.approx((top / np.linalg.norm(top)).tolist(), abs=1e-6)
