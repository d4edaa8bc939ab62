"""Which grasps a collection tries in a scene, and what its planner is told."""

from grasp_client.contract import GraspPlan, Gripper
from sim_worker.planners import NamedPlanner
from sim_worker.tasks.labels import Mix, candidates, label_scene
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
