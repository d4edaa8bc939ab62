"""The hand that executes the grasp."""

from __future__ import annotations

from pydantic import Field, model_validator

from grasp_client.contract.base import ApiModel, GraspKind

SMALLEST = 1e-4
"""m. A hand has no part thinner than a sheet of paper: whoever sends one has other units."""


class Gripper(ApiModel):
    """The hand that will execute the grasp. Defaults are those of the Franka Panda hand.

    In the grasp frame: a finger spans `finger_thickness` along x (outside the opening), `finger_width` along y and
    `finger_depth` along -z from the tip to the palm; the palm spans `palm_width` along x and `palm_thickness` along y.
    """

    kind: GraspKind = "parallel_jaw"
    max_width: float = Field(0.08, ge=SMALLEST, le=0.5, description="largest opening, inner face to inner face, m")
    min_width: float = Field(0.0, ge=0, le=0.5, description="smallest object that can be held, m")
    finger_width: float = Field(0.02, ge=SMALLEST, le=0.2, description="extent of a finger across the closing axis (y), m")
    finger_thickness: float = Field(0.01, ge=SMALLEST, le=0.1, description="extent of a finger along the closing axis (x), m")
    finger_depth: float = Field(0.053, ge=SMALLEST, le=0.5, description="length of a finger from palm to tip (z), m")
    palm_width: float = Field(0.204, ge=SMALLEST, le=0.5, description="extent of the palm along the closing axis (x), m")
    palm_thickness: float = Field(0.063, ge=SMALLEST, le=0.5, description="extent of the palm across the closing axis (y), m")
    cup_radius: float = Field(0.015, ge=SMALLEST, le=0.1, description="radius of the suction cup, m")
    tcp_offset: float = Field(
        0.0, ge=-0.5, le=0.5, description="distance of the robot's tool frame behind the tips, along -z, m"
    )

    @model_validator(mode="after")
    def _widths_in_order(self) -> Gripper:
        if self.min_width >= self.max_width:
            raise ValueError(f"expected min_width < max_width, got {self.min_width} >= {self.max_width} (metres)")
        if self.kind == "parallel_jaw" and self.max_width + 2 * self.finger_thickness > 0.6:
            raise ValueError("expected max_width plus both fingers to be at most 0.6 m: are the sizes in metres?")
        return self
