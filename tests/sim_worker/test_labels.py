"""Which grasps a collection tries in a scene, and what its planner is told."""

from pathlib import Path

from grasp_client.contract import GraspPlan, Gripper
from sim_worker.planners import NamedPlanner, load_planner
from sim_worker.sampling.hands import DrawnHand
from sim_worker.tasks.labels import Mix, candidates, clear_some, label_scene
from sim_worker.world import SceneSpec, World


class Listening:
    """Finds nothing, and remembers what it was sent."""

    def __init__(self):
        self.sent = []

    def plan(self, observation, request):
        self.sent.append((observation, request))
        return GraspPlan(planner="listening", grasps=[])


def test_a_planner_without_depth_gets_labels_of_its_own_and_of_grasps_like_them():
    scene = World().build(SceneSpec(seed=5, kind="single", object_set="procedural", profile="standard", count=1))
    planner = Listening()
    mix = Mix(random=0, edges=0, feasible=0, on_policy=3, flat=12)
    named = NamedPlanner("listening", planner)
    tried = candidates(scene, mix, None, named, Gripper(), extras=["rgb", "table_depth"], withheld=["depth"])
    [(observation, request)] = planner.sent
    assert observation.depth is None
    assert observation.rgb is not None
    assert request.table_depth > 0
    assert [each.strategy for each in tried] == ["flat"] * 12
    outcomes = list(label_scene(scene, tried, Gripper(), "w:0", with_rgb=True))
    assert {outcome.meta.details["strategy"] for outcome in outcomes} == {"flat"}
    assert all(outcome.meta.grasp.width == Gripper().max_width for outcome in outcomes)


def test_things_are_taken_away_as_far_as_the_scene_draws_or_the_scene_is_left_out():
    scene = World().build(SceneSpec(seed=2, kind="pile", object_set="blocks", profile="clean", count=2))
    hand = DrawnHand(Gripper(), Gripper())
    nothing, antipodal = NamedPlanner("listening", Listening()), load_planner("antipodal", Path("models"))
    # Of two things this seed draws one, of the one that is left none.
    for planner, there, left in ((nothing, False, 2), (antipodal, True, 1), (nothing, True, 1)):
        assert clear_some(scene, planner, hand, [], [], False) == there
        assert len(scene.objects) == left
