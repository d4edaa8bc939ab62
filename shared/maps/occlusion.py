"""What may be hidden where a height map has no reading: how high it can rise, and where nobody knows."""

import cv2
import numpy as np

COARSE = 4
"""Cells along one side of the blocks on which shadows are cast."""
UNSEEN = np.float32(-1e9)
"""Height of cells without a reading while a map is made, m."""
BLOCK = np.ones((COARSE, COARSE), np.uint8)


def hidden(
    height: np.ndarray,
    known: np.ndarray,
    table: np.ndarray,
    corner: tuple[float, float],
    resolution: float,
    camera_height: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Upper bound of the height at every cell, the reading or the line of sight over what hides it, and the unobserved cells.

    height, known, table: (H, W), m, bool and m, of cells `resolution` m wide, the first at `corner` (x, y). camera_height: over
    the map's origin, which lies at the camera's foot.

    A cell without reading is hidden by something between it and the camera's foot, or the sensor failed there. Of the first
    kind it can rise to the line of sight that grazes the occluder, of the second to its surroundings.
    """
    floor = np.where(known, height, UNSEEN)
    beside = cv2.dilate(floor, np.ones((5, 5), np.uint8))
    around = cv2.dilate(beside, np.ones((5, 5), np.uint8))
    rows, columns = floor.shape
    blocks = cv2.dilate(floor, BLOCK, anchor=(0, 0))[::COARSE, ::COARSE]
    shadow = _cast(blocks, known, corner, resolution, camera_height, float(table.min()))
    shadow = np.repeat(np.repeat(shadow, COARSE, 0), COARSE, 1)[:rows, :columns]
    unobserved = ~known & (around == UNSEEN) & (shadow < table + 0.002)
    unobserved[0] = unobserved[-1] = unobserved[:, 0] = unobserved[:, -1] = True  # nobody knows what is beyond the map
    return np.where(known, height, np.maximum(np.maximum(beside, shadow), table)), unobserved


def _cast(
    blocks: np.ndarray,
    known: np.ndarray,
    corner: tuple[float, float],
    resolution: float,
    camera_height: float,
    lowest: float,
) -> np.ndarray:
    """Height of the highest line of sight over each block, from blocks (h, w) of greatest heights (UNSEEN: no reading); right
    where that is more than `lowest`, m."""
    step = COARSE * resolution
    rows, columns = blocks.shape
    half = (COARSE - 1) / 2 * resolution
    left, top = corner[0] + half, corner[1] + half
    row, column = np.nonzero(cv2.erode(known.astype(np.uint8), BLOCK, anchor=(0, 0))[::COARSE, ::COARSE] == 0)
    distance = np.hypot(left + step * column, top + step * row)
    tallest = max(float(blocks.max()), 0.0)
    height = max(camera_height, 1e-3)
    # What stands farther away from a block than this, towards the camera's foot, is not tall enough to hide its table.
    share = 1 - (height - tallest) / (height - lowest) if tallest < height else 1.0
    reach = np.minimum(distance, share * distance + 2 * step)
    order = np.argsort(-reach)
    row, column, distance, reach = row[order], column[order], distance[order], reach[order]
    x, y = left / step + column, top / step + row
    # Nothing is beyond the edge.
    around = np.pad(blocks, 1, constant_values=UNSEEN)
    highest = np.full(len(row), UNSEEN, np.float32)
    farthest = min(float(distance.max(initial=0.0)) * min(1.0, tallest / height) + 2 * step, step * max(rows, columns))
    for away in np.arange(step, farthest, step):
        count = int(np.searchsorted(-reach, -away))  # the first so many blocks are farther than that
        nearer = np.maximum(1 - away / distance[:count], 1e-3)  # where along the way from the camera's foot to the block
        i = np.rint(y[:count] * nearer + (1 - top / step)).astype(np.int32).clip(0, rows + 1)
        j = np.rint(x[:count] * nearer + (1 - left / step)).astype(np.int32).clip(0, columns + 1)
        occluder = around.take(i * np.int32(columns + 2) + j)
        # Similar triangles from the camera over the occluder's top down to the cell.
        sight = camera_height - (camera_height - occluder) / nearer
        np.maximum(highest[:count], sight, out=highest[:count], casting="same_kind")
    shadow = np.full(blocks.shape, UNSEEN, np.float32)
    shadow[row, column] = highest
    return shadow
