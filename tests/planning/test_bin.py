"""A bin is found by its rim, told by its corners, and planned inside of: its walls are never what is held."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from table_scenes import Box, Camera, Solid, camera, entered, render

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.observation import Observation
from planning.jaw.analytic import AntipodalPlanner
from planning.scene.bin import SeenBin, told_bin
from planning.scene.bin_detection import find_bin
from planning.scene.scene import PlanningScene, observe_scene
from shared.maps.heightmap import project

LENGTH, WIDTH, HEIGHT, THICK = 0.36, 0.26, 0.07, 0.01
YAW, X, Y = 0.5, 0.03, -0.02
THINGS: list[Solid] = [Box(0.08, -0.01, 1.0, 0.09, 0.03, 0.03), Box(-0.05, -0.05, 0.2, 0.05, 0.04, 0.04)]
VIEW = camera(480, 640, 525.0, tilt=0.26)


def placed(u: float, v: float, yaw: float = YAW, x: float = X, y: float = Y) -> tuple[float, float]:
    return x + u * math.cos(yaw) - v * math.sin(yaw), y + u * math.sin(yaw) + v * math.cos(yaw)


def walls(height: float = HEIGHT, yaw: float = YAW, x: float = X, y: float = Y, thick: float = THICK) -> list[Solid]:
    a, b = LENGTH / 2 + thick / 2, WIDTH / 2 + thick / 2
    across, along = (thick, WIDTH + 2 * thick), (LENGTH, thick)
    sides = [(a, 0.0, *across), (-a, 0.0, *across), (0.0, b, *along), (0.0, -b, *along)]
    return [Box(*placed(u, v, yaw, x, y), yaw, length, width, height) for u, v, length, width in sides]


def corners(yaw: float = YAW, x: float = X, y: float = Y) -> list[list[float]]:
    signs = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    return [[*placed(u * LENGTH / 2, v * WIDTH / 2, yaw, x, y), 0.0] for u, v in signs]


def scene_of(view: Camera, solids: list[Solid], **options: object) -> PlanningScene:
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), **options)
    return observe_scene(Observation(depth=render(view, solids)), request, torch.device("cpu"))


def plan(view: Camera, solids: list[Solid], **options: object) -> GraspPlan:
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), **options)
    [answer] = AntipodalPlanner().plan_batch([(Observation(depth=render(view, solids)), request)], None)
    return answer


def found_in(view: Camera, solids: list[Solid]) -> SeenBin | None:
    return find_bin(project(render(view, solids), view.intrinsics, view.pose))


@pytest.mark.parametrize("tilt", [0.0, 0.44])
@pytest.mark.parametrize(("height", "thick", "yaw"), [(0.04, 0.012, 0.0), (0.15, 0.003, -0.8), (0.08, 0.015, 1.3)])
def test_a_bin_is_found_where_it_stands(tilt: float, height: float, thick: float, yaw: float) -> None:
    view = camera(480, 640, 525.0, tilt=tilt, distance=0.8)
    solids = [*walls(height, yaw, thick=thick), *THINGS]
    found = found_in(view, solids)
    told = scene_of(view, solids, bin={"corners": corners(yaw), "wall_height": height}).bin
    assert found is not None
    assert told is not None
    assert abs((found.angle - told.angle + math.pi / 4) % (math.pi / 2) - math.pi / 4) < math.radians(1)
    ends = torch.tensor([found.high, found.low], dtype=torch.float64)
    cos, sin = math.cos(found.angle), math.sin(found.angle)
    for u in ends[:, 0]:
        for v in ends[:, 1]:
            assert abs(float(told.gap(cos * u - sin * v, sin * u + cos * v))) < 0.008
    assert found.rim == pytest.approx(height, abs=0.006)
    assert found.thickness == pytest.approx(thick, abs=0.007)


def test_a_bin_of_which_a_side_is_out_of_view_is_open_there() -> None:
    view = camera(300, 360, 525.0, distance=0.75)
    found = found_in(view, [*walls(yaw=0.0, x=0.1, y=0.0), *THINGS])
    assert found is not None
    ends = [*found.low, *found.high]
    assert sum(math.isinf(end) for end in ends) == 1
    scene = scene_of(view, [*walls(yaw=0.0, x=0.1, y=0.0), *THINGS])
    assert scene.inside is not None
    assert 0.3 < scene.inside.mean() < 0.95


@pytest.mark.parametrize(
    "solids",
    [
        [],
        THINGS,
        [Box(0.0, 0.0, 0.3, 0.40, 0.30, 0.12)],
        [Box(0.15 * k - 0.15, 0.0, 0.0, 0.12, 0.25, 0.10) for k in range(3)],
        [Box(0.0, 0.0, 0.4, 0.30, 0.01, 0.08)],
        [Box(0.0, 0.06, 0.4, 0.20, 0.015, 0.08), Box(0.0, -0.06, 0.4, 0.20, 0.015, 0.08)],
        walls()[:1] + walls()[2:3],
    ],
    ids=["nothing", "things", "large box", "row of boxes", "board on edge", "two boards", "two walls in the middle"],
)
def test_what_is_no_bin_is_not_taken_for_one(solids: list[Solid]) -> None:
    assert found_in(VIEW, solids) is None


@pytest.mark.parametrize("told", [None, True, {"corners": corners(), "wall_height": HEIGHT}], ids=["untold", "true", "corners"])
def test_no_grasp_holds_a_wall_or_lies_outside(told: object) -> None:
    outside = Box(*placed(0.0, 0.2), 0.0, 0.08, 0.03, 0.03)
    answer = plan(VIEW, [*walls(), *THINGS, outside], bin=told, n_grasps=200)
    place = scene_of(VIEW, [*walls(), *THINGS, outside], bin={"corners": corners(), "wall_height": HEIGHT})
    assert len(answer.grasps) >= 10
    to_map = np.linalg.inv(place.map.pose)
    assert place.bin is not None
    for grasp in answer.grasps:
        pose = to_map @ np.asarray(grasp.pose_camera)
        assert grasp.width is not None
        for end in (-grasp.width / 2, grasp.width / 2):
            x, y = torch.tensor(pose[:2, 3] + end * pose[:2, 0])
            assert float(place.bin.gap(x, y)) > 0
    assert [text.partition(":")[0] for text in answer.warnings] == (["bin_detected"] if told is None else [])


def test_without_the_bin_its_walls_would_be_held() -> None:
    """What the other tests guard against."""
    answer = plan(VIEW, walls(), bin=False)
    assert answer.grasps
    assert answer.warnings == []
    inside = plan(VIEW, walls())
    assert inside.grasps == []


def test_a_bin_that_is_told_and_not_found_is_warned_of() -> None:
    answer = plan(VIEW, THINGS, bin=True)
    assert answer.grasps
    assert [text.partition(":")[0] for text in answer.warnings] == ["no_bin"]


def test_what_stands_against_a_wall_is_held_by_its_free_sides() -> None:
    """Box and wall together would be the wider grip; a finger beside the wall fits between them only where there is room."""
    box = Box(*placed(0.06, WIDTH / 2 - 0.026), YAW, 0.06, 0.05, 0.05)
    best = np.asarray(plan(VIEW, [*walls(), box]).grasps[0].pose_base)
    assert abs(best[0, 0] * math.cos(YAW) + best[1, 0] * math.sin(YAW)) > math.cos(math.radians(15))
    assert np.linalg.norm(best[:2, 3] - [box.x, box.y]) < 0.012


def test_corners_are_told_in_either_order_and_a_few_millimetres_off() -> None:
    map = project(render(VIEW, walls()), VIEW.intrinsics, VIEW.pose)
    request = {"corners": corners(), "wall_height": HEIGHT}
    bins = []
    for told in (corners(), corners()[::-1], [[x + 0.002, y - 0.002, z + 0.001] for x, y, z in corners()]):
        asked = PlanRequest(camera_pose=VIEW.pose.tolist(), bin={**request, "corners": told}).bin
        assert asked
        assert not isinstance(asked, bool)
        bins.append(told_bin(asked, VIEW.pose, map))
    for other in bins[1:]:
        assert other.rim == pytest.approx(HEIGHT, abs=0.002)
        for x, y in ((0.0, 0.0), (0.1, 0.05), (-0.12, 0.3)):
            at = torch.tensor(x), torch.tensor(y)
            assert float(other.gap(*at)) == pytest.approx(float(bins[0].gap(*at)), abs=0.004)


@dataclass(frozen=True)
class Board(Box):
    """Hangs with its upper face at `height`."""

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        into = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        low = np.array([-self.length / 2, -self.width / 2, self.height - THICK]) - into @ (origin - [self.x, self.y, 0])
        return entered(low, low + np.array([self.length, self.width, THICK]), rays @ into.T)


@pytest.mark.parametrize(
    ("length", "width", "height", "tilt", "aside"),
    [
        (0.45, 0.32, 0.22, 1.15, 0.0),
        (0.55, 0.30, 0.28, 1.25, 0.0),
        (0.35, 0.38, 0.22, 1.15, 0.3),
        (0.45, 0.32, 0.22, 1.25, 0.3),
    ],
)
def test_a_shelf_that_is_looked_into_from_its_front_is_no_bin(
    length: float, width: float, height: float, tilt: float, aside: float
) -> None:
    """Its boards and the front of its ceiling are a rim, but where a fourth wall stood, it would hide the floor."""
    view, yaw = camera(480, 640, 525.0, tilt=tilt, distance=0.8), math.pi / 2 + aside
    sides = [(0.0, width / 2, length, THICK), (length / 2, 0.0, THICK, width), (-length / 2, 0.0, THICK, width)]
    boards: list[Solid] = [Box(*placed(u, v, yaw, 0, 0), yaw, *size, height) for u, v, *size in sides]
    depth = render(view, [*boards, Board(0.0, 0.0, yaw, length, width, height)])
    noisy = depth + np.random.default_rng(0).normal(0, 0.0007, depth.shape).astype(np.float32)
    assert find_bin(project(noisy, view.intrinsics, view.pose)) is None
