"""The benchmark of bins counts a wall between the fingers, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.bins import holds_wall, looked_at, spec_of
from grasp_client.contract import Grasp, Gripper
from grasp_client.geometry import approach_frame
from sim_worker.planners import load_planner
from sim_worker.world import World
from sim_worker.world.simulation.bins import Bin

TOTE = Bin((0.3, 0.2, 0.08), yaw=0.4, centre=(0.02, -0.03))


@pytest.mark.parametrize(
    ("u", "height", "width", "held"),
    [(0.0, 0.02, 0.06, False), (0.11, 0.02, 0.06, False), (0.13, 0.02, 0.06, True), (0.155, 0.06, 0.04, True),
     (0.155, 0.09, 0.04, False), (0.2, 0.02, 0.04, True)],
)  # fmt: skip
def test_a_wall_is_held_where_an_open_finger_lower_than_the_rim_stands_beyond_it(u, height, width, held):
    axis = np.array([np.cos(TOTE.yaw), np.sin(TOTE.yaw), 0.0])
    place = np.array([*TOTE.in_base(np.array([u, 0.0])), height])
    pose = approach_frame(place, axis, np.array([0, 0, -1.0])).tolist()
    grasp = Grasp(kind="parallel_jaw", quality=0.9, center_px=[0, 0], angle=0, width=width, pose_base=pose)
    assert holds_wall(grasp, TOTE) == held


def test_a_plan_of_a_bin_and_of_a_table_are_counted():
    world, planner = World(), load_planner("antipodal", Path("models"))
    found = looked_at(world.build(spec_of("bin", 0, "procedural")), planner, Gripper(), told=False)
    assert (found["scenes"], found["detected"], found["planned"], found["best_on_wall"]) == (1, 1, 1, 0)
    told = looked_at(world.build(spec_of("bin", 0, "procedural")), planner, Gripper(), told=True)
    assert (told["detected"], told["planned"]) == (0, 1)
    assert looked_at(world.build(spec_of("single", 1, "procedural")), planner, Gripper(), told=False) == {
        "scenes": 1,
        "detected": 0,
    }
    world.close()
