"""Robust plane of the table under a scene, from points alone."""

import math

import numpy as np

HYPOTHESES = 768
"""Planes through triples of points: where the table is a fifth of what is seen, one triple in 125 lies on it."""
SCREENED = 24
"""How many of them go on from a first round."""
SCREEN = 8
"""In the first round one of so many points counts."""
CHUNK = 16
"""Planes that are tried together: their residuals stay in the cache."""
BELOW = 0.15
"""Points up to this far under a plane speak against it, m; what lies deeper may be the floor beside the table."""


def fit_table(points: np.ndarray, max_tilt: float, tolerance: float) -> tuple[np.ndarray, float, float]:
    """Plane `height = a x + b y + c` that carries the scene.

    points: (N, 3) as x, y, height in metres, height growing away from the table. max_tilt: steepest plane allowed, rad.
    tolerance: distance within which a point counts as on the plane, m. Returns the plane (3,) as a, b, c, the share of points
    on it and their standard deviation from it, m. The plane with the most points on it wins, less the points just under it
    (nothing lies under a table top). Where nothing is flat (a full bin), it is the horizontal plane under the points and the
    share is 0.
    """
    fallback = np.array([0.0, 0.0, np.percentile(points[:, 2], 2)]) if len(points) else np.zeros(3)
    if len(points) < 12:
        return fallback, 0.0, 0.0
    sloped = _hypotheses(points, max_tilt)
    first = _scores(points[::SCREEN], sloped, tolerance, CHUNK * SCREEN)
    levels = np.percentile(points[:, 2], np.linspace(2, 98, 33))
    planes = np.vstack([sloped[np.argsort(-first)[:SCREENED]], np.column_stack([np.zeros((len(levels), 2)), levels])])
    score = _scores(points, planes, tolerance, CHUNK)
    best = int(np.argmax(score))
    if score[best] < 0.05:
        return fallback, 0.0, 0.0
    design = np.column_stack([points[:, :2], np.ones(len(points))])
    plane = _refine(design, points[:, 2], planes[best], tolerance, max_tilt)
    residual = np.abs(points[:, 2] - design @ plane)
    near = residual[residual < tolerance]
    spread = 1.48 * float(np.median(near)) if len(near) else 0.0
    return plane, len(near) / len(points), spread


def _scores(points: np.ndarray, planes: np.ndarray, tolerance: float, together: int) -> np.ndarray:
    """Scores (M,) of planes (M, 3), so many together."""
    parts = np.split(planes, range(together, len(planes), together))
    return np.concatenate([_score(points, part, tolerance) for part in parts])


def _score(points: np.ndarray, planes: np.ndarray, tolerance: float) -> np.ndarray:
    """Share of points (N, 3) on each plane (M, 3), less one and a half times that of the points just under it, (M,)."""
    x, y, heights = points.T.astype(np.float32)
    a, b, c = planes.T.astype(np.float32)[:, :, None]
    residual = heights - (a * x + b * y + c)
    below = np.count_nonzero((residual < -3 * tolerance) & (residual > -BELOW), axis=1)
    on = np.count_nonzero(np.abs(residual, out=residual) < tolerance, axis=1)
    result: np.ndarray = (on - 1.5 * below) / len(points)
    return result


def _refine(design: np.ndarray, heights: np.ndarray, plane: np.ndarray, tolerance: float, max_tilt: float) -> np.ndarray:
    """The plane (3,) moved to the least squares of the points near it; design (N, 3) as x, y, 1 and heights (N,)."""
    for _ in range(3):
        near = np.abs(heights - design @ plane) < tolerance
        rows = design[near]
        try:
            refined = np.linalg.solve(rows.T @ rows, rows.T @ heights[near])
        except np.linalg.LinAlgError:  # too few points, or all on one line
            return plane
        if math.hypot(refined[0], refined[1]) > math.tan(max_tilt):
            return plane
        plane = refined
    return plane


def _hypotheses(points: np.ndarray, max_tilt: float) -> np.ndarray:
    """Planes (M, 3) through random triples of points, none steeper than max_tilt."""
    rng = np.random.default_rng(0)
    a, b, c = (points[rng.integers(0, len(points), HYPOTHESES)] for _ in range(3))
    normal = np.cross(b - a, c - a)
    sound = np.abs(normal[:, 2]) > 1e-5
    normal, a = normal[sound], a[sound]
    slopes = -normal[:, :2] / normal[:, 2:]
    flat = np.hypot(slopes[:, 0], slopes[:, 1]) <= math.tan(max_tilt)
    slopes, a = slopes[flat], a[flat]
    return np.column_stack([slopes, a[:, 2] - (slopes * a[:, :2]).sum(1)])
