"""The clearing machine in real scenes: rules, per-object log, failures, and the ticket task."""

import numpy as np
import pytest

from grasp_client.contract import GraspPlan, Gripper, SceneRequest
from shared.outcome_codec import depth_in_units
from sim_worker.benchmark.baselines import BASELINES
from sim_worker.grasp_poses import jaw_grasp, suction_grasp, top_down
from sim_worker.planner_request import Failure, bin_region, planning_request
from sim_worker.tasks.attempts import Attempt, NoPlan, run_scene_request
from sim_worker.tasks.decluttering import BIN, DECLUTTER, SINGLE, DeclutteringRunner, Pick, Rules, State
from sim_worker.world import SceneSpec, World

GRIPPER = Gripper()


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


def spec(kind: str, seed: int = 3, **options) -> SceneSpec:
    return SceneSpec.model_validate({"seed": seed, "kind": kind, "object_set": "procedural", "profile": "clean", **options})


def beside(request) -> GraspPlan:
    """A grasp of nothing, in a corner of the table."""
    camera_pose = np.asarray(request.camera_pose)
    pose = top_down(np.array([0.18, 0.18]), 0.02, 0.0)
    return GraspPlan(planner="beside", grasps=[jaw_grasp(pose, 0.06, 0.5, request.camera, camera_pose)])


def clear(scene, rules, plan, extras=(), gripper=GRIPPER) -> tuple[list[Pick], DeclutteringRunner]:
    clearer = DeclutteringRunner(
        scene, lambda view, failed: planning_request(view, scene.spec, gripper, 5, extras=extras, failed=failed), rules, gripper
    )
    task, picks, answer = clearer.run(), [], None
    while True:
        try:
            event = task.send(answer)
        except StopIteration:
            return picks, clearer
        answer = None
        if isinstance(event, Pick):
            picks.append(event)
        else:
            answer = plan(event)


def centroid(call) -> GraspPlan:
    return BASELINES["centroid"].plan(call.observation, call.request)


def edges(call) -> GraspPlan:
    return BASELINES["edges"].plan(call.observation, call.request)


def test_a_single_attempt_ends_after_one(world):
    scene = world.build(spec("single", objects=("procedural/bar-1",)))
    picks, clearer = clear(scene, SINGLE, centroid)
    assert len(picks) == 1
    assert picks[0].states[:3] == (State.OBSERVE, State.PLAN, State.APPROACH)
    assert clearer.log.ended in ("cleared", "attempts")


def test_two_failures_in_a_row_end_a_round(world):
    scene = world.build(spec("pile", count=3))
    picks, clearer = clear(scene, DECLUTTER, lambda call: beside(call.request))
    assert [pick.result.failure for pick in picks] == ["missed", "missed"]
    assert all(State.RECOVER in pick.states for pick in picks)
    assert clearer.log.ended == "failures_in_a_row"
    assert clearer.log.count("left") + clearer.log.count("lost") == 3


def test_an_object_that_fails_three_times_is_set_aside(world):
    scene = world.build(spec("bin", count=2))
    rules = Rules(failures_in_a_row=10, set_aside_after=3)
    picks, clearer = clear(scene, rules, lambda call: beside(call.request))
    assert rules == BIN
    assert clearer.log.ended == "cleared"
    assert clearer.log.count("set_aside") == 2
    assert [len(log.failures) for log in clearer.log.objects.values()] == [3, 3]
    assert len(picks) == 6


def test_failures_are_told_only_when_asked_and_forgotten_where_something_was_taken_away(world):
    for extras, expected in ((["failures"], [0, 1, 2, 0, 1, 2]), ([], [0] * 6)):
        scene = world.build(spec("bin", count=2))
        told = []

        def note(call, told=told):
            told.append(call.request.failed)
            return beside(call.request)

        picks, _ = clear(scene, BIN, note, extras)
        assert [len(failed) for failed in told] == expected
        for failed in told:
            for each in failed:  # the same view in all calls: the grasp lies where it was planned
                assert each.center_px == pytest.approx(picks[0].grasp.center_px, abs=1e-6)
                assert each.angle == pytest.approx(picks[0].grasp.angle, abs=1e-6)
                assert each.quality == picks[0].grasp.quality
                assert each.depth == pytest.approx(picks[0].grasp.depth, abs=1e-6)


def test_a_cup_is_not_pressed_again_where_one_failed(world):
    """Beside the object, where nothing seals; the plan's others lie 4 mm and 20 mm away."""
    scene, cup = world.build(spec("single", objects=("procedural/bar-1",))), Gripper(kind="suction", cup_radius=0.01)

    def plan(call) -> GraspPlan:
        pose = np.asarray(call.request.camera_pose)
        places = [top_down(np.array([0.14, y]), 0.02, 0.0) for y in (0.1, 0.104, 0.12)]
        grasps = [suction_grasp(place, 0.5, call.request.camera, pose) for place in places]
        return GraspPlan(planner="beside", grasps=grasps)

    rules = Rules(failures_in_a_row=3)
    picks, _ = clear(scene, rules, plan, gripper=cup)
    assert [round(float(pick.pose[1, 3]), 3) for pick in picks] == [0.1, 0.12, 0.1]


def test_a_failure_elsewhere_is_remembered_when_something_is_lifted(world):
    scene = world.build(spec("packed", objects=("procedural/bar-1", "procedural/bar-2", "procedural/bar-3")))
    told = []

    def first_beside(call):
        told.append(len(call.request.failed))
        return beside(call.request) if len(told) == 1 else centroid(call)

    picks, _ = clear(scene, Rules(attempts=4), first_beside, ["failures"])
    assert [pick.result.success for pick in picks[:2]] == [False, True]
    assert told[:3] == [0, 1, 1]


def test_no_more_failures_are_told_than_a_request_may_name(world):
    view = world.build(spec("single")).observe()
    poses = [Failure(top_down(np.array([0.001 * k, 0.0]), 0.02, 0.0), 0.8) for k in range(100)]
    told, last = (
        planning_request(view, spec("single"), GRIPPER, 5, extras=["failures"], failed=each).request.failed
        for each in (poses, poses[-1:])
    )
    assert len(told) == 64
    assert told[-1:] == last, "the latest"


def test_a_lifted_object_is_placed_and_the_rest_cleared(world):
    scene = world.build(spec("packed", objects=("procedural/bar-1", "procedural/bar-2", "procedural/bar-3")))
    picks, clearer = clear(scene, Rules(attempts=12), centroid)
    placed = [pick for pick in picks if pick.result.success]
    assert placed, "the centroid grasps at least one of three bars"
    assert clearer.log.count("placed") == len(placed)
    assert all(pick.states[-1] == State.PLACE for pick in placed)
    assert {pick.object for pick in placed} <= clearer.log.objects.keys()


def test_no_plan_ends_a_round_with_its_reasons(world):
    scene = world.build(spec("pile", count=3))
    nothing = GraspPlan(planner="none", rejections={"collision": 7})
    picks, clearer = clear(scene, DECLUTTER, lambda call: nothing)
    assert picks == []
    assert clearer.log.ended == "no_plan"
    assert clearer.log.rejections == {"collision": 7}


def test_rules_without_an_end_are_refused():
    with pytest.raises(ValueError, match="never end"):
        Rules(set_aside_after=3)


def test_the_planner_is_told_no_more_than_a_robot_knows(world):
    scene = world.build(spec("bin", count=2))
    view = scene.observe()
    call = planning_request(view, scene.spec, GRIPPER, 5)
    assert call.observation.rgb is None
    assert call.observation.segmask is None
    assert call.request.table_depth is None
    assert call.request.region is None
    assert call.request.bin is None
    aided = planning_request(view, scene.spec, GRIPPER, 5, extras=["bin", "region"]).request
    assert aided.bin.wall_height == scene.spec.bin.inner[2]
    np.testing.assert_allclose(aided.bin.corners, scene.spec.bin.corners())
    assert aided.region == bin_region(view, scene.spec.bin)
    np.testing.assert_allclose(call.observation.depth, view.observation.depth, atol=0.6e-4)
    told = planning_request(view, spec("pile"), GRIPPER, 5, extras=["rgb", "segmask", "table_depth"])
    assert told.request.table_depth == pytest.approx(0.7, abs=0.01)
    assert told.observation.segmask.any()
    assert told.observation.rgb.dtype == np.uint8
    assert told.request.region is None
    assert planning_request(view, scene.spec, GRIPPER, 5, withheld=["depth"], extras=["rgb"]).observation.depth is None


def test_depth_units_keep_missing_readings_missing():
    depth = np.array([[0.0, 0.5, np.nan], [7.0, -1.0, 0.00012]], np.float32)
    np.testing.assert_array_equal(depth_in_units(depth), [[0, 5000, 0], [0, 0, 1]])


def run(scene, ticket, plan) -> list:
    task, events = run_scene_request(scene, ticket, GRIPPER), []
    step = next(task)
    while True:
        try:
            if isinstance(step, (Attempt, NoPlan)):
                events.append(step)
                step = next(task)
            else:
                step = task.send(plan(step))
        except StopIteration:
            return events


def test_a_ticket_tries_each_planned_grasp_once(world):
    scene = world.build(spec("single"))
    many = [beside(planning_request(scene.observe(), scene.spec, GRIPPER, 1).request).grasps[0]] * 3
    ticket = SceneRequest(id="t", seed=3, attempts=10)
    events = run(scene, ticket, lambda call: GraspPlan(planner="beside", grasps=many))
    assert [event.choice.rank for event in events] == [0, 1, 2]
    assert [event.number for event in events] == [0, 1, 2]


def test_a_ticket_sets_aside_what_fails_three_times_unless_it_is_the_last(world):
    scene = world.build(spec("packed", count=2))
    objects = scene.objects
    events = run(scene, SceneRequest(id="t", seed=3, kind="packed", attempts=10), lambda call: beside_each(call, 6))
    assert [len(event.view.objects) for event in events] == [2, 2, 2, 1, 1, 1, 1, 1, 1]
    assert len(scene.objects) == 1
    assert set(scene.objects) < set(objects)


def beside_each(call, count: int) -> GraspPlan:
    return GraspPlan(planner="beside", grasps=beside(call.request).grasps * count)


def test_a_ticket_without_a_plan_says_so(world):
    scene = world.build(spec("single"))
    events = run(scene, SceneRequest(id="t", seed=3), lambda call: GraspPlan(planner="none", rejections={"too_wide": 2}))
    assert [type(event) for event in events] == [NoPlan]


def test_a_ticket_clears_a_pile_object_by_object(world):
    scene = world.build(spec("pile", seed=5, count=3))
    events = run(scene, SceneRequest(id="t", seed=5, kind="pile", attempts=40), edges)
    lifted = [event for event in events if event.result.success]
    assert lifted
    seen = [len(event.view.objects) for event in events]
    assert seen == sorted(seen, reverse=True)
    assert len(scene.objects) < 3 or len(lifted) == 1
