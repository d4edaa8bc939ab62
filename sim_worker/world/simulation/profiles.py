"""Difficulty profiles: one typed set of ranges each, and what a scene drew from them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

Range = tuple[float, float]
SensorName = Literal["none", "realsense", "structured_light"]
USUAL_VACUUM = 60e3
"""Pressure difference under a suction cup, Pa."""
CUP_LEVERS = (0.5, 1.0)
"""Moment that a cup's seal resists, over the vacuum's force times the cup's radius: the force acts in the middle, and a round
lip gives way somewhere between there and its far rim."""


class Profile(BaseModel):
    """Ranges, (low, high), that every scene draws from uniformly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    friction: Range = Field(description="Coulomb coefficient between finger pad and object")
    mass: Range | None = Field(None, description="kg per object, log-uniform; none: the object's own")
    grip_force: Range = Field((20.0, 20.0), description="N per finger")
    vacuum: Range = Field((USUAL_VACUUM, USUAL_VACUUM), description="pressure difference of a suction cup, Pa")
    cup_lever: Range = Field(
        CUP_LEVERS, description="moment that a seal resists, over the vacuum's force times the cup's radius, where none is told"
    )
    sensor: SensorName = "none"
    tilt: Range = Field((0.0, 0.0), description="camera's angle from straight down, rad")
    camera_shift: float = Field(0.0, ge=0, description="half-range of the error of the reported camera position per axis, m")
    camera_turn: float = Field(0.0, ge=0, description="half-range of the error of the reported camera rotation per axis, rad")
    pose_shift: float = Field(
        0.0, ge=0, description="half-range of the hand's position error per axis (x, y of the hand, z a third), m"
    )
    pose_turn: float = Field(0.0, ge=0, description="half-range of the hand's error about its approach axis, rad")
    colours: bool = Field(False, description="draw the table's and the objects' colours, the texture and the light")


PROFILES: dict[str, Profile] = {
    "clean": Profile(friction=(0.5, 0.5)),
    "standard": Profile(
        friction=(0.5, 1.0),
        mass=(0.05, 0.3),
        sensor="realsense",
        camera_shift=0.001,
        camera_turn=math.radians(0.1),
        pose_shift=0.001,
        pose_turn=math.radians(1.0),
        colours=True,
    ),
    "hard": Profile(
        friction=(0.3, 0.6),
        mass=(0.05, 1.0),
        grip_force=(15.0, 20.0),
        vacuum=(30e3, USUAL_VACUUM),
        sensor="structured_light",
        tilt=(0.0, math.radians(20.0)),
        camera_shift=0.002,
        camera_turn=math.radians(0.2),
        pose_shift=0.003,
        pose_turn=math.radians(5.0),
        colours=True,
    ),
}


@dataclass(frozen=True)
class Conditions:
    """What one scene drew. Stored with its outcomes."""

    friction: float
    grip_force: float
    vacuum: float
    sensor: SensorName
    tilt: float
    tilt_azimuth: float
    camera_shift: tuple[float, float, float]
    camera_turn: tuple[float, float, float]
    pose_shift: float
    pose_turn: float
    cup_lever: float

    @staticmethod
    def draw(profile: Profile, random: np.random.Generator) -> Conditions:
        friction, force, vacuum, tilt = (
            float(random.uniform(*span)) for span in (profile.friction, profile.grip_force, profile.vacuum, profile.tilt)
        )
        shift, turn = random.uniform(-1, 1, 3) * profile.camera_shift, random.uniform(-1, 1, 3) * profile.camera_turn
        azimuth, lever = random.uniform(-math.pi, math.pi), random.uniform(*profile.cup_lever)
        return Conditions(
            friction=friction,
            grip_force=force,
            vacuum=vacuum,
            sensor=profile.sensor,
            tilt=tilt,
            tilt_azimuth=float(azimuth),
            camera_shift=(float(shift[0]), float(shift[1]), float(shift[2])),
            camera_turn=(float(turn[0]), float(turn[1]), float(turn[2])),
            pose_shift=profile.pose_shift,
            pose_turn=profile.pose_turn,
            cup_lever=float(lever),
        )

    def flat(self) -> dict[str, float | str]:
        """The draw as scalars, for an outcome's details."""
        flat: dict[str, float | str] = {}
        for name, value in asdict(self).items():
            if isinstance(value, tuple):
                flat |= {f"{name}_{axis}": round(v, 6) for axis, v in zip("xyz", value, strict=True)}
            else:
                flat[name] = value if isinstance(value, str) else round(value, 6)
        return flat


def draw_mass(profile: Profile, random: np.random.Generator) -> float | None:
    """kg, log-uniform in the profile's range; None keeps the object's own."""
    if profile.mass is None:
        return None
    low, high = profile.mass
    return float(math.exp(random.uniform(math.log(low), math.log(high))))
