"""Flat prints on a table look as things do, and nothing can be held there."""

from pathlib import Path

from sim_worker.benchmark.trials import Protocol, asked, buildable
from sim_worker.planners import load_planner
from sim_worker.world import World

SHIPPED = Path(__file__).parents[2] / "models"
MISTAKEN = (9, 34, 52, 53, 60, 64)
"""Photographic scenes of validation objects in which `heatmap:4` went for a print, or for the table."""


def test_a_thing_is_taken_and_not_what_is_printed_beside_it():
    protocol = Protocol(
        kind="single", object_set="validation", looks="photographic", inputs=["rgb", "table_depth"], drop_inputs=["depth"]
    )
    world, named, on_thing = World(), load_planner("heatmap", SHIPPED), 0
    for number in MISTAKEN:
        spec = buildable(world, protocol, 21, number)
        view = world.build(spec).observe()
        [grasp] = asked(named, protocol, spec, view, 1).grasps
        u, v = map(round, grasp.center_px)
        on_thing += bool((view.segmentation[max(0, v - 6) : v + 7, max(0, u - 6) : u + 7] > 0).any())
    assert on_thing >= 5
