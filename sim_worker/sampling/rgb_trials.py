"""Grasps tried where colours are looked at, straight down with the jaw wide open: which of those that may fit hold, and which
of those that a planner takes for the best."""

import math

import numpy as np

from grasp_client.contract import Gripper, PlanRequest
from grasp_client.observation import GraspPlanner, Observation
from shared.maps.open_hand import AROUND
from shared.rgb_windows import CELL, UNTRIED, TriedGrasp
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS, table_grasp, table_up
from sim_worker.world.camera.camera import CameraView
from sim_worker.world.simulation.scene import Scene

LIKELY = 0.8
"""Share of grasps at places, angles and heights where a hand probably fits; the others are at any where it may."""
FITS = 0.35
"""It probably fits where it does in so large a share of the neighbouring cells and angles."""
MARGIN = 6
"""Cells at the rim of a look at which nothing is tried: a window round them would leave the look."""


def try_grasps(
    scene: Scene,
    view: CameraView,
    table_depth: float,
    heights: np.ndarray,
    answers: np.ndarray,
    rng: np.random.Generator,
    count: int,
    bare: bool = False,
) -> np.ndarray:
    """(count, 5) float32, columns `TriedGrasp`: grasps in a window, each from the settled state.

    view: of a camera that looks straight down at a table `table_depth` m away. heights (S, S), mm; answers (T R, h, w):
    where an open hand fits. bare: where nothing stands grasps are tried, too.
    """
    fits = answers.reshape(len(TIP_HEIGHTS), ROTATIONS, *answers.shape[1:]) / AROUND
    inner = np.zeros(answers.shape[1:], bool)
    inner[MARGIN:-MARGIN, MARGIN:-MARGIN] = True
    side = CELL * len(inner)
    things = heights[:side, :side].reshape(len(inner), CELL, -1, CELL).max((1, 3)) > 0
    likely, possible = fits * (inner & (fits > FITS)), (fits > 0) * inner.astype(float)
    anywhere = np.broadcast_to((inner & things).astype(float), fits.shape)
    tried = np.full((count, len(TriedGrasp)), UNTRIED, np.float32)
    for row in tried:
        order = [likely, possible, anywhere] if rng.random() < LIKELY else [possible, anywhere]
        order += [np.broadcast_to(inner.astype(float), fits.shape)] if bare else []
        weights = next((each for each in order if each.any()), None)
        if weights is None:
            break
        row[:] = _try_one(scene, view, table_depth, *_draw(weights, rng))
    return tried


def try_best(scene: Scene, view: CameraView, table_depth: float, planner: GraspPlanner, count: int) -> np.ndarray:
    """(count, 5) float32, columns `TriedGrasp`: the best grasps of a planner that sees a window in colour; UNTRIED where it
    has no more. What it takes for good and is not, it learns from most."""
    tried = np.full((count, len(TriedGrasp)), UNTRIED, np.float32)
    side = len(view.rgb)
    request = PlanRequest(
        camera=view.camera,
        camera_pose=view.true_camera_pose.tolist(),
        table_depth=table_depth,
        n_grasps=count,
        region=[MARGIN * CELL, MARGIN * CELL, side - 1 - MARGIN * CELL, side - 1 - MARGIN * CELL],
    )
    for row, grasp in zip(tried, planner.plan(Observation(rgb=view.rgb), request).grasps, strict=False):
        assert grasp.depth is not None
        height = table_depth - grasp.depth
        level = int(np.abs(np.array(TIP_HEIGHTS) - height).argmin())
        u, v = grasp.center_px
        row[:] = _try_one(scene, view, table_depth, u, v, grasp.angle, level)
    return tried


def _draw(weights: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float, int]:
    """(u, v, angle, level) of weights (T, R, h, w), every height of the tips as often as any other that there is."""
    level = int(rng.choice(np.flatnonzero(weights.any((1, 2, 3)))))
    shares = weights[level].ravel() / weights[level].sum()
    turn, row, column = np.unravel_index(int(rng.choice(shares.size, p=shares)), weights[level].shape)
    u, v = ((cell + rng.random()) * CELL - 0.5 for cell in (column, row))
    return u, v, (turn + rng.uniform(-0.5, 0.5)) * math.pi / ROTATIONS, level


def _try_one(
    scene: Scene, view: CameraView, table_depth: float, u: float, v: float, angle: float, level: int
) -> tuple[float, float, float, int, bool]:
    pose = view.true_camera_pose
    tips = table_grasp((u, v), angle, TIP_HEIGHTS[level], view.camera, table_depth, table_up(pose))
    gripper = Gripper()
    return u, v, angle, level, scene.attempt(pose @ tips, gripper.max_width, gripper).success
