"""How unlike the colours of a table each pixel of a picture is.

The table's colours are those of wide surfaces about the optical axis, with the light's slope over them; darker shades of them
are shadows.
"""

from __future__ import annotations

import math

import numpy as np

BINS = (13, 9, 9)
"""Sides of bins of L, a and b, of 255, in which the commonest colour is looked for."""
SPREAD = ((4.0, 2.5, 2.5), (14.0, 8.0, 8.0))
"""Least and most deviation of one surface's L, a and b."""
SURFACES = 3
"""Colours of a patterned table, at most."""
LEAST_SURFACE = 0.06
"""Share of the picture that a further colour of the table covers."""
WIDE = 0.75
"""So wide is it spread, beside the first one."""
SHADOW = 0.4
"""A shade of the table that is not darker than this share of it counts for SHADE of its distance."""
SHADE = 0.3


def unlikeness(lab: np.ndarray, near: np.ndarray) -> np.ndarray:
    """(H, W): deviations of each pixel's colour from the nearest of the table's surfaces."""
    height, width = lab.shape[:2]
    step = max(1, round(math.sqrt(height * width / 6000)))
    v, u = np.mgrid[:height, :width].astype(np.float32)
    u, v = u / width - 0.5, v / height - 0.5
    terms = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], -1)
    few, some, weight = terms[::step, ::step].reshape(-1, 6), lab[::step, ::step].reshape(-1, 3), near[::step, ::step].ravel()
    best = np.full(lab.shape[:2], np.inf, np.float32)
    left = np.ones(len(some), bool)
    first_spread = 0.0
    for number in range(SURFACES):
        fitted, spread, like = _surface(few, some, weight * left)
        where = few[like & left][:, 1:3]
        if number:
            wide = len(where) > 1 and math.hypot(*where.std(0)) > WIDE * first_spread
            if len(where) < LEAST_SURFACE * len(some) or not wide:
                break
        else:
            first_spread = math.hypot(*where.std(0)) if len(where) > 1 else 0.0
        best = np.minimum(best, _deviation(lab, terms @ fitted, spread))
        left &= ~like
    return best


def _surface(terms: np.ndarray, colours: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients (6, 3) of the commonest colour's course over the picture, its deviation (3,), and which (N,) are of it."""
    bins = (colours / BINS).astype(np.int64)
    sizes = tuple(256 // side + 1 for side in BINS)
    counts = np.zeros(sizes, np.float32)
    np.add.at(counts, tuple(bins.T), weight)
    for axis in range(3):
        counts = counts + np.roll(counts, 1, axis) + np.roll(counts, -1, axis)
    middle = (np.array(np.unravel_index(counts.argmax(), sizes)) + 0.5) * BINS
    least, most = np.array(SPREAD)
    expected, spread = np.broadcast_to(middle, colours.shape), most
    fitted = np.zeros((6, 3))
    fitted[0] = middle
    like = np.zeros(len(colours), bool)
    for degree in (3, 3, 6, 6):
        like = (((colours - expected) / spread) ** 2).sum(1) < 6.25
        if like.sum() < 50:
            break
        fitted = np.zeros((6, 3))
        fitted[:degree] = np.linalg.lstsq(terms[like, :degree].astype(float), colours[like].astype(float), rcond=None)[0]
        expected = terms @ fitted
        spread = np.clip(1.5 * np.median(np.abs(colours - expected)[like], 0), least, most)
    return fitted, spread, like


def _deviation(lab: np.ndarray, expected: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(H, W) float32, in deviations; a shade of what is expected is not so far from it as another colour."""
    off = lab - expected
    light, chroma = off[..., 0] / spread[0], ((off[..., 1:] / spread[1:]) ** 2).sum(-1)
    share = lab[..., 0] / np.maximum(expected[..., 0], 1.0)
    # A shadow takes colour away with the light.
    faded = lab[..., 1:] - 128 - np.clip(share, 0, 1)[..., None] * (expected[..., 1:] - 128)
    shaded = ((faded / spread[1:]) ** 2).sum(-1)
    as_shade = (SHADE * light) ** 2 + shaded
    squared = np.where((share < 1) & (share > SHADOW), np.minimum(as_shade, light**2 + chroma), light**2 + chroma)
    result: np.ndarray = np.sqrt(squared).astype(np.float32)
    return result
