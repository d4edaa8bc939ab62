"""Antipodal pairs of depth edges: where a jaw could close, seen in the depth image alone."""

import cv2
import numpy as np

SLOPE = 1.5
"""Depth changes by this many metres per metre at an edge of an object."""
PITCH = 0.0012
"""Edges are sought at this pixel size or larger, m: finer pixels only add noise."""
CONE = 0.8
"""Half angle of the friction cone, rad: contacts may be this far off the closing axis."""
MOST_EDGES = 1000


def antipodal_pairs(
    depth: np.ndarray, allowed: np.ndarray, focal: float, max_width: float, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Up to `count` pairs of edge pixels that face away from each other: their middles (N, 2) as (u, v), angles (N,).

    depth: (H, W) metres without holes. allowed: (H, W) bool, where contacts may lie. focal: pixels. max_width: m.
    """
    typical = float(np.median(depth[allowed])) if allowed.any() else float(np.median(depth))
    shrink = max(1, round(PITCH * focal / typical))
    if shrink > 1:
        rows, columns = (side // shrink for side in depth.shape)
        depth = cv2.resize(depth, (columns, rows), interpolation=cv2.INTER_AREA)
        allowed = cv2.resize(allowed.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST) > 0
    pixels, normals = _edges(depth, allowed, focal / shrink, rng)
    first, second = _facing(pixels, normals, max_width * focal / shrink / typical)
    chosen = rng.permutation(len(first))[:count]
    a, b = pixels[first[chosen]], pixels[second[chosen]]
    middle = ((a + b) / 2 + 0.5) * shrink - 0.5
    return middle, np.arctan2(b[:, 1] - a[:, 1], b[:, 0] - a[:, 0])


def _edges(depth: np.ndarray, allowed: np.ndarray, focal: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Edge pixels (N, 2) as (u, v) and unit normals (N, 2) that point away from the camera's side, to the lower ground."""
    smooth = cv2.GaussianBlur(depth, (0, 0), 1.0)
    along_u = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3) / 8
    along_v = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3) / 8
    steep = np.hypot(along_u, along_v)
    rows, columns = np.nonzero(allowed & (steep > SLOPE * depth / focal))
    if len(rows) > MOST_EDGES:
        chosen = rng.permutation(len(rows))[:MOST_EDGES]
        rows, columns = rows[chosen], columns[chosen]
    normals = np.column_stack([along_u[rows, columns], along_v[rows, columns]]) / steep[rows, columns, None]
    return np.column_stack([columns, rows]).astype(np.float32), normals.astype(np.float32)


def _facing(pixels: np.ndarray, normals: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of pairs within reach (pixels) whose normals lie in both friction cones."""
    apart = pixels[None] - pixels[:, None]
    length = np.hypot(apart[..., 0], apart[..., 1])
    within = (length > 2) & (length < reach)
    outward = np.einsum("ijk,jk->ij", apart, normals), -np.einsum("ijk,ik->ij", apart, normals)
    # Antipodal, as in Dex-Net 2.0 (Mahler et al., 2017): the line between the contacts lies in both friction cones.
    cone = np.cos(CONE) * length
    first, second = np.nonzero(np.triu(within & (outward[0] > cone) & (outward[1] > cone)))
    return first, second
