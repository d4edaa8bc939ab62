"""The arms that a server plans for, from a file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from grasp_client.contract import Pose, first_problem
from planning.reach.arm import Arm

IDENTITY = [[float(row == column) for column in range(4)] for row in range(4)]


class ToldArm(BaseModel):
    """urdf: file, from the folder of the one that names it. tool: link whose pose a grasp tells. tool_pose: a grasp (x: closing
    axis, z: approach) in that link's frame. base_pose: the arm's first link in the frame of `pose_base`."""

    model_config = ConfigDict(extra="forbid")

    urdf: Path
    tool: str
    tool_pose: Pose = Field(default_factory=lambda: IDENTITY)
    base_pose: Pose = Field(default_factory=lambda: IDENTITY)


def read_arms(path: Path) -> dict[str, Arm]:
    """Arms by name of an API key. Raises ValueError for a file that cannot be used."""
    try:
        told = TypeAdapter(dict[str, ToldArm]).validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"ARMS: {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ValueError(f"ARMS: {path}: {first_problem(error)}") from error
    try:
        return {name: Arm(path.parent / arm.urdf, arm.tool, arm.tool_pose, arm.base_pose) for name, arm in told.items()}
    except ValueError as error:
        raise ValueError(f"ARMS: {path}: {error}") from error
