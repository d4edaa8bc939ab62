"""Pushes that are proposed: they come down free, meet something, keep the goal in view, and are told where they happen."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from table_scenes import Box, Camera, Solid, camera, render

from grasp_client.contract import Bin, PlanRequest, PushOptions
from grasp_client.observation import Observation
from planning.push.candidates import PushCandidates, push_candidates
from planning.push.wire import wire_pushes
from planning.scene.scene import PlanningScene, observe_scene
from shared.features.push import FEATURES, PushPaths, goal_cells, paths_of, push_crops, push_features

VIEW = camera(480, 640, 525.0)
GOAL = Box(0.0, 0.0, 0.0, 0.05, 0.05, 0.05)
WALLS: list[Solid] = [Box(0.0, 0.05, 0.0, 0.05, 0.05, 0.05), Box(0.0, -0.05, 0.0, 0.05, 0.05, 0.05)]
"""Cubes flush with the goal on two opposite sides."""


def seen(solids: list[Solid], view: Camera = VIEW, **options: object) -> tuple[PlanningScene, np.ndarray]:
    """A scene, and the cells of its first solid."""
    depth = render(view, solids)
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), **options)
    scene = observe_scene(Observation(depth=depth), request, torch.device("cpu"))
    others = render(view, solids[1:])
    return scene, goal_cells(scene.map, scene.camera, depth < others - 1e-6)


def proposed(scene: PlanningScene, goal: np.ndarray, **options: object) -> PushCandidates:
    return push_candidates(scene, goal, PushOptions(**options), np.random.default_rng(0))


def base(scene: PlanningScene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    assert scene.camera_pose is not None
    points = np.stack([x, y, np.zeros_like(x), np.ones_like(x)], 1)
    return (points @ (scene.camera_pose @ scene.map.pose).T)[:, :2]


def test_the_goal_is_the_cells_of_its_mask() -> None:
    scene, goal = seen([GOAL, *WALLS])
    row, column = np.nonzero(goal)
    x, y = (scene.map.corner[k] + scene.map.resolution * each for k, each in enumerate((column, row)))
    where = np.abs(base(scene, x, y))
    assert where.max() <= 0.027
    assert len(row) * scene.map.resolution**2 == pytest.approx(0.05**2, rel=0.06)


def test_pushes_are_many_and_within_their_options() -> None:
    scene, goal = seen([GOAL, *WALLS])
    found = proposed(scene, goal, min_length=0.06, max_length=0.09)
    assert len(found) == 160
    assert ((found.paths.length >= 0.06) & (found.paths.length <= 0.09)).all()
    assert np.histogram(found.paths.direction, 4, (-math.pi, math.pi))[0].min() > 10
    assert np.array_equal(proposed(scene, goal, min_length=0.06, max_length=0.09).paths.x, found.paths.x)


def test_fingers_come_down_free_and_reach_what_they_push() -> None:
    solids = [GOAL, *WALLS]
    scene, goal = seen(solids)
    paths = proposed(scene, goal).paths
    assert paths.tip.min() == pytest.approx(0.010, abs=1e-3)
    half_along, half_across = np.where(paths.turned, 0.0145, 0.0105), np.where(paths.turned, 0.0105, 0.0145)
    share = np.linspace(-1, 1, 9)
    for ahead, across in ((a, b) for a in share for b in share):
        x = paths.x + ahead * half_along * np.cos(paths.direction) - across * half_across * np.sin(paths.direction)
        y = paths.y + ahead * half_along * np.sin(paths.direction) + across * half_across * np.cos(paths.direction)
        points = np.column_stack([base(scene, x, y), paths.tip])
        assert not any(solid.inside(points).any() for solid in solids)
    ends = paths.length[:, None] * np.linspace(0, 1, 40)
    x = paths.x[:, None] + (ends + half_along[:, None]) * np.cos(paths.direction)[:, None]
    y = paths.y[:, None] + (ends + half_along[:, None]) * np.sin(paths.direction)[:, None]
    points = np.column_stack([base(scene, x.ravel(), y.ravel()), np.repeat(paths.tip, 40)])
    met = np.any([solid.inside(points) for solid in solids], 0).reshape(-1, 40).any(1)
    assert met.mean() > 0.8  # others are met by a corner of the hand, not by its middle


def test_a_palm_that_would_meet_a_tall_neighbour_is_turned_or_left_out() -> None:
    tall = Box(0.0, 0.10, 0.0, 0.30, 0.03, 0.12)
    scene, goal = seen([GOAL, tall])
    paths = proposed(scene, goal).paths
    assert 0.05 < paths.turned.mean() < 0.95
    closing = paths.direction + np.where(paths.turned, 0, math.pi / 2)
    for ahead in np.linspace(0, 1, 5):
        for side in np.linspace(-0.1, 0.1, 21):
            x = paths.x + ahead * paths.length * np.cos(paths.direction) + side * np.cos(closing)
            y = paths.y + ahead * paths.length * np.sin(paths.direction) + side * np.sin(closing)
            assert not tall.inside(np.column_stack([base(scene, x, y), paths.tip + 0.0463])).any()


def test_what_stands_as_high_as_fingers_are_long_is_pushed_low() -> None:
    """A palm that comes by over neighbours lifts the tips by as much as it needs, and not out of reach of what they push."""
    sides = ((0.055, 0.0), (-0.055, 0.0), (0.0, 0.055), (0.0, -0.055))
    scene, goal = seen([Box(0.0, 0.0, 0.0, 0.055, 0.055, 0.055), *(Box(x, y, 0.0, 0.055, 0.055, 0.055) for x, y in sides)])
    tips = proposed(scene, goal).paths.tip
    assert len(tips) == 160
    assert (tips < 0.02).mean() > 0.4


@pytest.mark.parametrize("told", [False, True])
def test_the_goal_is_not_pushed_out_of_the_workspace_or_out_of_view(told: bool) -> None:
    goal_box = Box(0.12, 0.0, 0.0, 0.05, 0.05, 0.05)
    view = camera(480, 640, 525.0) if told else camera(240, 240, 420.0)
    scene, goal = seen([goal_box], view)
    found = proposed(scene, goal, **({"workspace": [-0.2, -0.2, 0.2, 0.2]} if told else {}))
    assert found.rejected["workspace"] > 0
    assert len(found) > 20
    end = base(scene, *found.goal_end.T)
    assert end[:, 0].max() <= (0.176 if told else 0.2) + 1e-3
    assert end[:, 0].min() < 0.1


@pytest.mark.parametrize(("gap", "refused"), [(0.0, True), (0.03, False)])
def test_what_touches_the_goal_takes_it_along(gap: float, refused: bool) -> None:
    """The goal stands 4 cm within the edge x = 0.2: its neighbour may be pushed out past there if they stand apart."""
    goal_box, neighbour = Box(0.16, 0.0, 0.0, 0.05, 0.05, 0.05), Box(0.14, -0.05 - gap, 0.0, 0.08, 0.05, 0.05)
    scene, goal = seen([goal_box, neighbour])
    paths = proposed(scene, goal, workspace=[-0.2, -0.2, 0.2, 0.2]).paths
    half_along, half_across = np.where(paths.turned, 0.0145, 0.0105), np.where(paths.turned, 0.0105, 0.0145)
    ahead, aside = np.linspace(0, 1, 40)[:, None, None] * paths.length, np.linspace(-1, 1, 9)[:, None] * half_across
    cos, sin = np.cos(paths.direction), np.sin(paths.direction)
    x = paths.x + (ahead + half_along) * cos - aside * sin
    y = paths.y + (ahead + half_along) * sin + aside * cos
    points = np.column_stack([base(scene, x.ravel(), y.ravel()), np.broadcast_to(paths.tip, x.shape).ravel()])
    of_goal, of_neighbour = (each.inside(points).reshape(x.shape).any(1) for each in (goal_box, neighbour))
    out = base(scene, paths.x + paths.length * cos, paths.y + paths.length * sin) - base(scene, paths.x, paths.y)
    outward = out[:, 0] * of_neighbour.mean(0)  # as far as the hand goes on behind its contact
    alone = ~of_goal.any(0)
    assert alone.sum() > 20
    assert (outward[alone].max() < 0.025) == refused


def test_pushes_stay_between_the_walls_of_a_bin() -> None:
    corners = [[-0.12, -0.12, 0], [0.12, -0.12, 0], [0.12, 0.12, 0], [-0.12, 0.12, 0]]
    scene, goal = seen([GOAL, *WALLS], bin=Bin(corners=corners, wall_height=0.05))
    found = proposed(scene, goal)
    assert found.rejected["bin"] > 0
    assert len(found) > 20
    for reach in (0, found.paths.length):
        ends = [found.paths.x + reach * np.cos(found.paths.direction), found.paths.y + reach * np.sin(found.paths.direction)]
        assert np.abs(base(scene, *ends)).max() < 0.12 - 0.0105


def test_region_and_segmask_say_where_and_what_may_be_pushed() -> None:
    region = [290.0, 100.0, 520.0, 400.0]
    scene, goal = seen([GOAL, *WALLS], region=region)
    found = proposed(scene, goal)
    assert found.rejected["region"] > 0
    for push in wire_pushes(scene, found.paths, None, None):
        for u, v in (push.start_px, push.end_px):
            assert region[0] <= u <= region[2]
            assert region[1] <= v <= region[3]
    mask = render(VIEW, [GOAL, *WALLS]) < render(VIEW, [GOAL, WALLS[1]]) - 1e-6  # the first wall alone
    scene = replace(scene, observation=replace(scene.observation, segmask=mask), request=PlanRequest(camera=VIEW.intrinsics))
    found = proposed(scene, goal)
    assert found.rejected["segmask"] > 0
    assert len(found) > 20
    reached = found.paths.length + 0.0145  # none goes without meeting the wall
    steps = np.linspace(0, 1, 60)[:, None] * reached
    x, y = found.paths.x + steps * np.cos(found.paths.direction), found.paths.y + steps * np.sin(found.paths.direction)
    near = np.abs(base(scene, x.ravel(), y.ravel()) - [0.0, 0.05]).reshape(60, -1, 2).max(2)
    assert near.min(0).max() < 0.025 + 0.0145


def test_nothing_is_pushed_without_a_goal() -> None:
    scene, goal = seen([GOAL])
    assert len(proposed(scene, np.zeros_like(goal))) == 0


def one_push(scene: PlanningScene, length: float = 0.08) -> PushPaths:
    """From map x -0.1 towards the goal in the middle of the map."""
    number = np.array
    return PushPaths(number([-0.1]), number([0.0]), number([0.0]), number([length]), number([0.01]), number([False]))


def test_features_tell_what_a_push_meets() -> None:
    neighbour_behind = Box(0.06, 0.0, 0.0, 0.04, 0.05, 0.05)
    scene, goal = seen([GOAL, neighbour_behind])
    turn = np.linalg.inv(scene.camera_pose @ scene.map.pose)[:2, 0]  # the base's x in the map
    path = PushPaths(
        np.array([-0.1 * turn[0]]), np.array([-0.1 * turn[1]]), np.array([math.atan2(turn[1], turn[0])]),
        np.array([0.08]), np.array([0.01]), np.array([False]),
    )  # fmt: skip
    [row] = push_features(scene.map, goal, path, scene.request.gripper, 0.3)
    told = dict(zip(FEATURES, row.tolist(), strict=True))
    assert len(row) == len(FEATURES) == 24
    assert told["goal_along"] == pytest.approx(1.0, abs=0.03)
    assert told["goal_across"] == pytest.approx(0.0, abs=0.03)
    assert told["goal_first"] == pytest.approx(0.75, abs=0.05)
    assert told["past_goal"] == pytest.approx(0.155, abs=0.05)
    assert told["goal_is_first"] == 1.0
    assert told["goal_swept"] == pytest.approx(0.0155 * 0.029 / 0.01, rel=0.5)
    assert told["before_swept"] == told["beyond_swept"] == 0
    assert told["ring_0"] > 0.5 > told["ring_4"] == 0
    assert told["goal_quality"] == pytest.approx(0.3)
    assert told["length"] == pytest.approx(0.8)


def test_a_neighbour_in_the_way_is_met_first() -> None:
    scene, goal = seen([GOAL, Box(-0.06, 0.0, 0.0, 0.04, 0.05, 0.05), Box(0.06, 0.0, 0.0, 0.04, 0.05, 0.05)])
    rows = push_features(scene.map, goal, one_push(scene), scene.request.gripper, 0.0)
    told = dict(zip(FEATURES, rows[0].tolist(), strict=True))
    assert told["goal_is_first"] == 0
    assert told["before_swept"] > 0


def test_a_hand_does_not_sweep_what_it_passes_over() -> None:
    scene, goal = seen([GOAL, Box(-0.06, 0.0, 0.0, 0.04, 0.05, 0.02)])
    rows = [push_features(scene.map, goal, replace(one_push(scene), tip=np.array([tip])), scene.request.gripper, 0.0)[0]
            for tip in (0.01, 0.03, 0.06)]  # fmt: skip
    low, middle, high = (dict(zip(FEATURES, row.tolist(), strict=True)) for row in rows)
    assert low["before_swept"] > 0 == middle["before_swept"] == high["before_swept"]
    assert (low["goal_is_first"], middle["goal_is_first"], high["goal_is_first"]) == (0.0, 1.0, 0.0)
    assert middle["goal_swept"] > 0 == high["goal_swept"]


def test_features_and_crops_turn_with_the_scene() -> None:
    crops, rows = [], []
    for turn in (0.0, 0.7):
        cos, sin = math.cos(turn), math.sin(turn)
        boxes: list[Solid] = [Box(0, 0, turn, 0.05, 0.04, 0.04), Box(0.06 * cos, 0.06 * sin, turn, 0.03, 0.05, 0.06)]
        scene, goal = seen(boxes)
        assert scene.camera_pose is not None
        axes = np.linalg.inv(scene.camera_pose @ scene.map.pose)[:2, :2] @ np.array([cos, sin])
        path = PushPaths(*(np.array([each]) for each in (*(-0.1 * axes), math.atan2(*axes[::-1]), 0.09, 0.01, False)))
        rows.append(push_features(scene.map, goal, path, scene.request.gripper, 0.5)[0])
        crops.append(push_crops(scene.map, goal, path, scene.request.gripper)[0])
    assert np.abs(rows[0] - rows[1]).max() < 0.15
    assert np.abs(crops[0] - crops[1]).mean() < 0.03
    assert crops[0][1].sum() * 0.005**2 == pytest.approx(0.05 * 0.04, rel=0.1)
    assert crops[0][0].max() == pytest.approx(0.6, abs=0.03)
    on_goal = crops[0][1] > 0.99
    assert np.median(crops[0][4][on_goal]) == pytest.approx((0.04 - 0.01) * 30, abs=0.1)
    assert np.median(crops[0][4][crops[0][:3].max(0) == 0]) == pytest.approx(-0.01 * 30, abs=0.1)


def test_crops_of_many_pushes_are_those_of_each() -> None:
    scene, goal = seen([GOAL, *WALLS])
    paths = proposed(scene, goal).paths
    together = push_crops(scene.map, goal, paths, scene.request.gripper)
    for k in (0, 7, len(paths) - 1):
        np.testing.assert_allclose(
            push_crops(scene.map, goal, paths.pick(np.array([k])), scene.request.gripper)[0], together[k]
        )


def test_what_is_sent_lies_where_it_was_planned() -> None:
    scene, goal = seen([GOAL, *WALLS], camera(480, 640, 525.0, tilt=0.3, turn=0.8))
    found = proposed(scene, goal).pick(np.arange(20))
    pushes = wire_pushes(scene, found.paths, np.linspace(0, 1, 20), 0.25)
    again = paths_of(scene.map.pose, pushes)
    for name, value in found.paths.__dict__.items():
        turn = 2 * math.pi if name == "direction" else np.inf
        assert np.abs(np.asarray(value, float) - getattr(again, name)).max() % turn == pytest.approx(0, abs=1e-6), name
    start = np.array([push.start_base for push in pushes])
    assert start[:, 2, 3].min() == pytest.approx(0.01, abs=2e-3)
    assert np.allclose(start[:, :3, 2], [0, 0, -1], atol=1e-6)
    assert pushes[-1].gain == pytest.approx(0.75)
    assert isinstance(found.rejected, Counter)
