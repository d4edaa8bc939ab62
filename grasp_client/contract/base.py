"""What every model of the contract is made of: the base class, poses, pixels, probabilities."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

RIGID_TOLERANCE = 1e-3
"""Largest deviation of an entry of R R^T from the identity, and of the last row from (0, 0, 0, 1): calibrations written with
four decimals pass, transposed or scaled matrices do not."""


def _rigid(matrix: list[list[float]]) -> list[list[float]]:
    pose = np.asarray(matrix, dtype=float)
    if pose.shape != (4, 4):
        raise ValueError(f"expected a 4x4 homogeneous matrix as nested row-major lists, got shape {pose.shape}")
    if not np.isfinite(pose).all():
        raise ValueError("expected finite numbers in the 4x4 matrix, got NaN or infinity")
    rotation = pose[:3, :3]
    if not np.allclose(pose[3], (0, 0, 0, 1), atol=RIGID_TOLERANCE):
        raise ValueError(f"expected the last row to be [0, 0, 0, 1], got {pose[3].tolist()} (is the matrix transposed?)")
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=RIGID_TOLERANCE) or np.linalg.det(rotation) < 0:
        raise ValueError(
            "expected a rigid pose: the upper-left 3x3 must be a right-handed rotation (orthonormal rows, determinant +1), "
            f"got determinant {np.linalg.det(rotation):.4f}"
        )
    return matrix


Row = Annotated[list[float], Field(min_length=4, max_length=4)]
Pose = Annotated[list[Row], Field(min_length=4, max_length=4), AfterValidator(_rigid)]
Pixel = Annotated[list[float], Field(min_length=2, max_length=2)]
UnboundedPixel = Annotated[list[Annotated[float, Field(ge=-1e6, le=1e6)]], Field(min_length=2, max_length=2)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
GraspKind = Literal["parallel_jaw", "suction"]


class ApiModel(BaseModel):
    """Base of every model of the contract: unknown fields are refused, numbers must be finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())
