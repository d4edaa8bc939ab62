"""A view seen straight from above: colour, height and mask over the workspace, as Q-maps of pushes have them."""

from dataclasses import dataclass

import numpy as np

from grasp_client.geometry import deproject, transform
from sim_worker.world.camera.camera import CameraView
from sim_worker.world.simulation.spec import GOAL_WORKSPACE

CELLS = 224
"""Along each side of the workspace."""
CELL = 2 * GOAL_WORKSPACE / CELLS
"""Side of a cell, m."""


@dataclass(frozen=True)
class OrthographicMaps:
    """Rows run along y, columns along x of the base frame, from their least. colour (CELLS, CELLS, 3) uint8; height (CELLS,
    CELLS) float32, m over the table, of the highest reading in a cell, 0 without one; goal (CELLS, CELLS) bool: its reading is
    the goal's."""

    colour: np.ndarray
    height: np.ndarray
    goal: np.ndarray


def orthographic_maps(view: CameraView, mask: np.ndarray) -> OrthographicMaps:
    """Of a view and a mask (H, W) bool in its pixels."""
    depth = view.observation.depth
    assert depth is not None
    v, u = np.nonzero(depth > 0)
    points = transform(np.asarray(view.camera_pose), deproject(np.stack([u, v], axis=1), depth[v, u], view.camera))
    cells = np.floor((points[:, :2] + GOAL_WORKSPACE) / CELL).astype(int)
    inside = ((cells >= 0) & (cells < CELLS)).all(axis=1)
    # The highest reading of a cell is written last.
    order = np.flatnonzero(inside)[np.argsort(points[inside, 2], kind="stable")]
    row, column = cells[order, 1], cells[order, 0]
    colour, height = np.zeros((CELLS, CELLS, 3), np.uint8), np.zeros((CELLS, CELLS), np.float32)
    goal = np.zeros((CELLS, CELLS), bool)
    colour[row, column] = view.rgb[v[order], u[order]]
    height[row, column] = points[order, 2].clip(min=0)
    goal[row, column] = mask[v[order], u[order]]
    return OrthographicMaps(colour, height, goal)


def place_of_cell(row: int, column: int) -> np.ndarray:
    """(2,) m: the middle of a cell in the base frame."""
    return (np.array([column, row]) + 0.5) * CELL - GOAL_WORKSPACE
