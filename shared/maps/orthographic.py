"""What is seen straight from above over a square workspace: colour, height and a mask, as Q-maps of pushes have them."""

from dataclasses import dataclass

import numpy as np

from grasp_client.contract import CameraIntrinsics
from grasp_client.geometry import deproject, transform

CELLS = 224
"""Along each side of the workspace."""
CELL = 0.002
"""Side of a cell, m."""
HALF = CELLS * CELL / 2
"""Half a side of the workspace, whose middle is the origin of the base frame, m."""


@dataclass(frozen=True)
class OrthographicMaps:
    """Rows run along y, columns along x of the base frame, from their least. colour (CELLS, CELLS, 3) uint8; height (CELLS,
    CELLS) float32, m over the table, of the highest reading in a cell, 0 without one; goal (CELLS, CELLS) bool: its reading is
    the goal's."""

    colour: np.ndarray
    height: np.ndarray
    goal: np.ndarray


def orthographic(
    depth: np.ndarray, rgb: np.ndarray, mask: np.ndarray, camera: CameraIntrinsics, camera_pose: np.ndarray
) -> OrthographicMaps:
    """Of a depth image (H, W), m, 0 without a reading, with colours (H, W, 3) uint8 and a mask (H, W) bool in its pixels."""
    v, u = np.nonzero(depth > 0)
    points = transform(camera_pose, deproject(np.stack([u, v], axis=1), depth[v, u], camera))
    cells = np.floor((points[:, :2] + HALF) / CELL).astype(int)
    inside = ((cells >= 0) & (cells < CELLS)).all(axis=1)
    # The highest reading of a cell is written last.
    order = np.flatnonzero(inside)[np.argsort(points[inside, 2], kind="stable")]
    row, column = cells[order, 1], cells[order, 0]
    colour, height = np.zeros((CELLS, CELLS, 3), np.uint8), np.zeros((CELLS, CELLS), np.float32)
    goal = np.zeros((CELLS, CELLS), bool)
    colour[row, column] = rgb[v[order], u[order]]
    height[row, column] = points[order, 2].clip(min=0)
    goal[row, column] = mask[v[order], u[order]]
    return OrthographicMaps(colour, height, goal)


def cell_of_place(place: np.ndarray) -> tuple[int, int]:
    """Row and column of the cell in which a place (2,), m in the base frame, lies; it may be beyond the workspace."""
    column, row = np.floor((place + HALF) / CELL).astype(int).tolist()
    return row, column


def place_of_cell(row: int, column: int) -> np.ndarray:
    """(2,) m: the middle of a cell in the base frame."""
    return (np.array([column, row]) + 0.5) * CELL - HALF
