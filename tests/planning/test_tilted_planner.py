"""Grasps from several directions: what is allowed, what level and steep cameras see, walls and ceilings, and who is asked."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from table_scenes import Box, Camera, Cylinder, Solid, camera, collides, render

from grasp_client.contract import FailedGrasp, Grasp, GraspPlan, Gripper, PlanRequest
from grasp_client.geometry import deproject, project
from grasp_client.observation import Observation
from planning.base import PlannerError
from planning.discovery import choose
from planning.local import LocalPlanner, local_planner
from planning.tilted.directions import MOST, angle, directions
from planning.tilted.overhead import blocked_from_above
from planning.tilted.planner import tilted_candidates
from shared.features.hand_frame import outcome_patches

DOWN = np.array([0.0, 0.0, -1.0])
CANS: list[Solid] = [Cylinder(0.0, 0.06, 0.025, 0.10), Cylinder(0.02, -0.07, 0.03, 0.12)]
WALL = Box(0.0, -0.4, 0.0, 4.0, 0.02, 3.0)


@cache
def tilted() -> LocalPlanner:
    return local_planner("tilted")


def view_at(lean: float, height: float = 0.0) -> Camera:
    """A camera `lean` degrees from straight down, its picture upright."""
    view = camera(240, 320, 280.0, math.radians(lean), math.pi / 2, distance=0.6)
    view.pose[2, 3] += height
    return view


def planned(view: Camera, solids: list[Solid], told: bool = True, **options: object) -> GraspPlan:
    pose = view.pose.tolist() if told else None
    request = PlanRequest.model_validate({"camera": view.intrinsics, "camera_pose": pose, "planner": "tilted", **options})
    return tilted().plan(Observation(depth=render(view, solids)), request)


def kinds(plan: GraspPlan) -> set[str]:
    return {text.partition(":")[0] for text in plan.warnings}


def approach(view: Camera, grasp: Grasp) -> np.ndarray:
    """In the base frame."""
    return np.asarray((view.pose @ np.asarray(grasp.pose_camera))[:3, 2])


def test_a_side_camera_gets_grasps_from_several_sides_that_hit_nothing() -> None:
    view = view_at(60)
    plan = planned(view, CANS, n_grasps=20)
    leans = {round(math.degrees(angle(approach(view, grasp), DOWN))) for grasp in plan.grasps}
    assert {0, 30, 60} <= leans
    assert not any(collides(grasp, Gripper(), CANS, 0.001) for grasp in plan.grasps)
    assert [grasp.quality for grasp in plan.grasps] == sorted((grasp.quality for grasp in plan.grasps), reverse=True)
    for grasp in plan.grasps:
        pose = np.asarray(grasp.pose_camera)
        assert grasp.center_px == pytest.approx(project(pose[None, :3, 3], view.intrinsics)[0], abs=0.01)
        assert grasp.depth == pytest.approx(pose[2, 3])
        assert np.asarray(grasp.pregrasp_camera)[:3, 3] == pytest.approx(pose[:3, 3] - 0.1 * pose[:3, 2])
        assert np.asarray(grasp.pose_base) == pytest.approx(view.pose @ pose)


@pytest.mark.parametrize("lean", [80, 90])
def test_a_level_camera_is_answered_from_the_side_and_told(lean: int) -> None:
    view = view_at(lean, height=0.05)
    solids = [*CANS, WALL]
    depth = level_depth(view, solids)
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), planner="tilted")
    plan = tilted().plan(Observation(depth=depth), request)
    assert plan.grasps[0].quality > 0.3
    assert all(angle(approach(view, grasp), DOWN) > math.radians(44) for grasp in plan.grasps)
    assert not any(collides(grasp, Gripper(), solids, 0.001) for grasp in plan.grasps)
    assert "any_approach" in kinds(plan)
    assert choose(PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist()), Observation(depth), ALL) == "tilted"


ALL = {"dense", "tilted", "antipodal"}


def level_depth(view: Camera, solids: list[Solid], ceiling: float | None = None) -> np.ndarray:
    """As `render`, of a camera that also sees what is over the horizon, and a board at this height, m, over the things."""
    k, eye = view.intrinsics, view.pose[:3, 3]
    u, v = np.meshgrid(np.arange(view.columns), np.arange(view.rows))
    rays = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones(u.shape)], -1) @ view.pose[:3, :3].T
    table = -eye[2] / rays[..., 2]
    depth = np.where(table > 0, table, np.inf)
    for solid in solids:
        depth = np.minimum(depth, solid.hit(eye, rays))
    if ceiling is not None:
        board = (ceiling - eye[2]) / rays[..., 2]
        depth = np.minimum(depth, np.where((board > 0) & (eye[1] + board * rays[..., 1] < 0.3), board, np.inf))
    return np.where(depth < 6, depth, 0).astype(np.float32)


def test_without_a_pose_a_steep_table_is_found_and_told() -> None:
    view = view_at(62)
    plan = planned(view, CANS, told=False)
    best = (view.pose @ np.asarray(plan.grasps[0].pose_camera))[:3, 3]
    assert plan.grasps[0].quality > 0.5
    assert min(math.dist(best[:2], (can.x, can.y)) for can in CANS) < 0.04  # type: ignore[union-attr]
    assert best[2] > 0.01
    assert "gravity_guessed" in kinds(plan)


def test_approaches_stay_within_what_is_allowed() -> None:
    view = view_at(60)
    for axis, most in (([0.0, 0.0, -1.0], 0.35), ([0.0, -math.sin(1.0), -math.cos(1.0)], 0.4), ("camera", 0.0)):
        plan = planned(view, CANS, approach={"axis": axis, "max_angle": most})
        along = view.pose[:3, 2] if axis == "camera" else np.array(axis)
        assert plan.grasps
        assert all(angle(approach(view, grasp), along) <= most + 1e-4 for grasp in plan.grasps)
        assert "any_approach" not in kinds(plan)


def test_an_approach_from_behind_what_is_seen_is_refused_with_what_would_be_right() -> None:
    with pytest.raises(PlannerError, match="80 degrees") as raised:
        planned(view_at(60), CANS, approach={"axis": [0, 0, 1]})
    assert raised.value.status == 422
    with pytest.raises(ValidationError, match="camera_pose"):
        PlanRequest(approach={"axis": [0, 0, -1]})
    with pytest.raises(ValidationError, match="direction"):
        PlanRequest(camera_pose=np.eye(4).tolist(), approach={"axis": [0, 0, 0]})


def test_straight_down_is_what_dense_plans() -> None:
    view = view_at(30)
    depth = Observation(depth=render(view, CANS))
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), n_grasps=3)
    straight = {"axis": [0, 0, -1], "max_angle": 0.0}
    mine = tilted().plan(depth, request.model_copy(update={"planner": "tilted"}).model_validate(
        {**request.model_dump(), "planner": "tilted", "approach": straight}))  # fmt: skip
    dense = local_planner("dense").plan(depth, request)
    assert np.allclose(mine.grasps[0].pose_base, dense.grasps[0].pose_base, atol=1e-6)
    assert mine.grasps[0].quality == pytest.approx(dense.grasps[0].quality, abs=1e-5)


def test_a_failed_pose_is_remembered() -> None:
    view = view_at(60)
    first = planned(view, CANS).grasps[0]
    again = planned(view, CANS, failed=[FailedGrasp(pose_camera=first.pose_camera, quality=0.95)]).grasps
    same = [each for each in again if np.allclose(each.pose_camera, first.pose_camera, atol=1e-6)]
    assert not same or same[0].quality < first.quality - 0.2
    other = (np.asarray(again[0].pose_camera)[:3, 3], np.asarray(first.pose_camera)[:3, 3])
    assert math.dist(*other) > 0.05, "the other can"


def test_labels_are_learned_from_what_the_planner_saw() -> None:
    """Features of an outcome, made from its image and pose alone, are those of the candidate."""
    view = view_at(60)
    depth = render(view, CANS)
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist())
    pool = tilted_candidates((Observation(depth=depth), request), torch.device("cpu"))
    assert len(pool.seen.scenes) == MOST
    grasps = pool.grasps(torch.arange(len(pool)), torch.full((len(pool),), 0.5))
    leaning = [k for k, grasp in enumerate(grasps) if angle(approach(view, grasp), DOWN) > 0.1][::6]
    assert len(leaning) > 3
    learned = outcome_patches(depth, view.intrinsics, view.pose, [grasps[k] for k in leaning], Gripper())
    off = np.abs(learned - pool.features()[leaning].numpy())
    assert np.median(off) < 1e-4
    assert off.mean() < 0.01


def test_a_mask_crops_the_maps_and_what_lies_outside_is_counted() -> None:
    view = view_at(60)
    far: list[Solid] = [CANS[0], Cylinder(0.1, 0.62, 0.03, 0.1)]
    mask = render(view, [CANS[0]]) < render(view, []) - 1e-3
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), planner="tilted")
    plan = tilted().plan(Observation(depth=render(view, far), segmask=mask), request)
    assert plan.grasps
    assert plan.rejections["outside_map"] > 0
    assert all(mask[round(grasp.center_px[1]), round(grasp.center_px[0])] for grasp in plan.grasps)


def test_under_a_board_of_a_shelf_hands_come_from_the_side() -> None:
    view = view_at(72, height=0.05)
    free, shelf = (level_depth(view, [*CANS, WALL], ceiling) for ceiling in (None, 0.30))
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist())
    assert blocked_from_above(free, view.intrinsics, view.pose) is None
    assert "ceiling" in (blocked_from_above(shelf, view.intrinsics, view.pose) or "")
    assert choose(request, Observation(free), ALL) == "dense"
    assert choose(request, Observation(shelf), ALL) == "tilted"
    plan = tilted().plan(Observation(shelf), request)
    assert plan.grasps[0].quality > 0.5
    for grasp in plan.grasps:
        pose = np.asarray(grasp.pose_base)
        if pose[2, 3] > 0.2:
            continue  # the edge of the board itself
        back = pose[:3, 3] - np.linspace(0, 0.25, 26)[:, None] * pose[:3, 2]
        assert ((back[:, 2] < 0.27) | (back[:, 1] > 0.27)).all(), "the way in does not run through the board"


def test_auto_stays_straight_down_unless_the_request_asks() -> None:
    view = view_at(60)
    depth = Observation(depth=render(view, CANS))
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist())
    assert choose(request, depth, ALL) == "dense"
    asked = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), approach={"axis": "camera"})
    assert choose(asked, depth, ALL) == "tilted"
    with pytest.raises(PlannerError, match="tilted"):
        choose(asked, depth, {"dense", "antipodal"})
    with pytest.raises(PlannerError, match="approach"):
        local_planner("dense").plan(depth, asked)


def test_directions_are_few_apart_and_towards_the_camera() -> None:
    down = np.array([0.0, math.sin(0.9), math.cos(0.9)])
    chosen = directions(down, None, lambda each: True)
    assert len(chosen) == MOST
    assert chosen[0] is down
    assert all(angle(one, other) > 0.2 for k, one in enumerate(chosen) for other in chosen[:k])
    assert all(each[2] > 0.4 for each in chosen), "the camera looks along z"
    overhead = directions(np.array([0.0, 0.0, 1.0]), None, lambda each: True)
    assert len(overhead) == MOST


def test_walls_of_a_bin_bind_hands_from_every_direction() -> None:
    view = view_at(35)
    bar = Box(0.0, 0.0, 0.0, 0.03, 0.10, 0.03)
    walls: list[Solid] = [Box(side * 0.16, 0.0, 0.0, 0.008, 0.33, 0.06) for side in (-1, 1)]
    walls += [Box(0.0, side * 0.16, 0.0, 0.33, 0.008, 0.06) for side in (-1, 1)]
    corners = [[-0.156, -0.156, 0], [0.156, -0.156, 0], [0.156, 0.156, 0], [-0.156, 0.156, 0]]
    told = {"corners": corners, "wall_height": 0.06}
    lean = {"axis": [0.0, -math.sin(0.5), -math.cos(0.5)], "max_angle": 0.02}
    plan = planned(view, [bar, *walls], bin=told, approach=lean)
    assert plan.grasps
    for grasp in plan.grasps:
        assert np.abs(np.asarray(grasp.pose_base)[:2, 3]).max() < 0.156, "never a wall"
        assert not collides(grasp, Gripper(), walls, 0.001)
    level = view_at(80, height=0.05)
    told_level = PlanRequest(camera=level.intrinsics, camera_pose=level.pose.tolist(), bin=True, planner="tilted")
    assert "no_bin" in kinds(tilted().plan(Observation(level_depth(level, [*CANS, WALL])), told_level))


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_sent_is_answered_or_refused_with_a_reason(seed: int) -> None:
    rng, refused = np.random.default_rng(seed), []
    for _ in range(4):
        rows, columns = rng.integers(8, 90, 2)
        depth = rng.choice([0.0, 1.0], (rows, columns), p=[0.3, 0.7]) * rng.uniform(0.1, rng.choice([0.3, 2.0, 60.0]))
        depth = (depth * rng.uniform(0.5, 1.0, rng.choice([1, columns]))).astype(np.float32)
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        pose = np.eye(4)
        pose[:3, :3] = turn * np.linalg.det(turn)
        axis = "camera" if rng.uniform() < 0.3 else rng.normal(size=3).tolist()
        camera_model = {"fx": float(rng.uniform(20, 900)), "fy": 300.0, "cx": columns / 2, "cy": rows / 2}
        request = PlanRequest.model_validate(
            {"camera": camera_model, "camera_pose": pose.tolist(), "planner": "tilted"}
            | ({} if rng.uniform() < 0.5 else {"approach": {"axis": axis, "max_angle": float(rng.uniform(0, 3))}})
        )
        try:
            tilted().plan(Observation(depth=depth), request)
        except PlannerError as error:
            refused.append(error.status)
    assert set(refused) <= {422}


@pytest.mark.parametrize("lean", [60, 90])
def test_what_is_refused_is_told_along_the_directions_of_the_plan(lean: int) -> None:
    view = view_at(lean, height=0.05)
    wide = Cylinder(0.0, 0.0, 0.06, 0.12)
    depth = level_depth(view, [wide, WALL])
    u, v = project(np.linalg.inv(view.pose)[None, :3] @ [0.0, 0.0, 0.06, 1.0], view.intrinsics)[0]
    plan = tilted().plan(
        Observation(depth=depth),
        PlanRequest.model_validate(
            {
                **{"camera": view.intrinsics, "camera_pose": view.pose.tolist(), "planner": "tilted", "explain": True},
                "region": [u - 20, v - 20, u + 20, v + 20],
            }
        ),
    )
    assert not any(text.startswith("no_explanation") for text in plan.warnings)
    assert {"too_wide", "collision"} & {each.reason for each in plan.refused}
    assert max(angle(approach(view, each), DOWN) for each in plan.refused) > math.radians(29)
    for each in plan.refused:
        x, y, _ = np.asarray(each.pose_base)[:3, 3]
        assert math.hypot(x, y) < 0.13, "near to what was asked for"


@pytest.mark.parametrize("surroundings", [True, False])
def test_clouds_are_approached_as_the_request_says(surroundings: bool) -> None:
    view = view_at(50)
    depth = render(view, CANS)
    v, u = np.nonzero(depth > 0)
    scene = deproject(np.stack([u, v], 1), depth[v, u], view.intrinsics).astype(np.float32)
    rise = (scene @ view.pose[:3, :3].T + view.pose[:3, 3])[:, 2]
    things = Observation(points=scene[rise > 0.004], scene_points=scene if surroundings else None)
    axis = view.pose[:3, 2].tolist()
    told = {"camera_pose": view.pose.tolist(), "viewpoint": [0.0, 0.0, 0.0], "planner": "tilted", "n_grasps": 5}
    plan = tilted().plan(things, PlanRequest.model_validate({**told, "approach": {"axis": axis, "max_angle": 0.3}}))
    assert plan.grasps
    assert all(angle(approach(view, grasp), np.array(axis)) <= 0.3 + 1e-6 for grasp in plan.grasps)
    assert not any(collides(grasp, Gripper(), CANS, 0.002) for grasp in plan.grasps)
