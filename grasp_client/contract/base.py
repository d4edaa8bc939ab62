"""What every model of the contract is made of: the base class, poses, pixels, probabilities."""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

RIGID_TOLERANCE = 1e-3
"""Largest deviation of an entry of R R^T from the identity, and of the last row from (0, 0, 0, 1): calibrations written with
four decimals pass, transposed or scaled matrices do not."""
FARTHEST = 100.0
"""m. Farther from the camera or from the robot's base than this is nothing that a hand reaches: a number in other units."""
LARGEST_PIXEL = 1e6
"""Farthest from the image's corner that a pixel is told to lie, on any side of the image."""
LARGEST_VERSION = 10**9
LARGEST_SEED = 2**63 - 1


def _rigid(matrix: list[list[float]]) -> list[list[float]]:
    # Plain arithmetic, one comparison after the other: numpy takes over ten times as long for four rows, generators three
    # times, and every grasp of a reply and every outcome has four poses. NaN and infinity fail the comparisons.
    *rows, last = matrix
    p, q, r, s = last
    most = RIGID_TOLERANCE
    if not (abs(p) <= most and abs(q) <= most and abs(r) <= most and abs(s - 1) <= most):
        raise ValueError(f"expected the last row to be [0, 0, 0, 1], got {last} (is the matrix transposed?)")
    (a, b, c, x), (d, e, f, y), (g, h, i, z) = rows
    units = abs(a * a + b * b + c * c - 1) <= most and abs(d * d + e * e + f * f - 1) <= most
    units = units and abs(g * g + h * h + i * i - 1) <= most
    across = abs(a * d + b * e + c * f) <= most and abs(a * g + b * h + c * i) <= most and abs(d * g + e * h + f * i) <= most
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if not (units and across and determinant > 0):
        raise ValueError(
            "expected a rigid pose: the upper-left 3x3 must be a right-handed rotation (orthonormal rows, determinant +1), "
            f"got determinant {determinant:.4f}"
        )
    if not math.hypot(x, y, z) <= FARTHEST:
        raise ValueError(f"expected a translation of at most {FARTHEST:g} m, got {[x, y, z]}: is it in metres?")
    return matrix


Row = Annotated[list[float], Field(min_length=4, max_length=4)]
Pose = Annotated[list[Row], Field(min_length=4, max_length=4), AfterValidator(_rigid)]
Point = Annotated[list[Annotated[float, Field(ge=-FARTHEST, le=FARTHEST)]], Field(min_length=3, max_length=3)]
Coordinate = Annotated[float, Field(ge=-LARGEST_PIXEL, le=LARGEST_PIXEL)]
Pixel = Annotated[list[Coordinate], Field(min_length=2, max_length=2)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Name = Annotated[str, Field(max_length=64)]
"""Of a planner, a model, a kind of scene."""
Label = Annotated[str, Field(max_length=128)]
"""Free text by which somebody finds something again."""
GraspKind = Literal["parallel_jaw", "suction"]
Variation = Literal["hands", "cameras", "sides"]
"""What a simulated scene may draw besides: the hand, with things of its size to grasp; where the camera is; a share of cameras
at the side."""


class ApiModel(BaseModel):
    """Base of every model of the contract: unknown fields are refused, numbers must be finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())
