"""The hand that executes the grasp."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from grasp_client.contract.base import ApiModel, GraspKind
from grasp_client.contract.gripper_presets import PRESETS

SMALLEST = 1e-4
"""m. A hand has no part thinner than a sheet of paper: whoever sends one has other units."""
LIP_PER_RADIUS = 0.0025 / 0.015
"""How much unevenness the lip of a bellows cup takes up, of its radius: 2.5 mm at 15 mm."""
LIP_ANGLE_PER_SHARE = math.radians(25) / LIP_PER_RADIUS
"""rad by which a lip follows a surface that turns away from the cup, per share of the radius that it takes up."""
_FINGER_SIZES = ("finger_width", "finger_thickness", "finger_depth")


class Gripper(ApiModel):
    """The hand that will execute the grasp, or its name in place of its sizes. Defaults are those of the Franka Panda hand.

    In the grasp frame: a finger spans `finger_width` along y and `finger_depth` along -z from the tip to the palm. Along x,
    outside the opening, its lowest `pad_depth` are `pad_thickness` thick, the rest `finger_thickness`; without both (and where
    another size of the finger is given, they are not assumed) all of it is. The palm spans `palm_width` along x and
    `palm_thickness` along y.
    """

    kind: GraspKind = "parallel_jaw"
    max_width: float = Field(0.08, ge=SMALLEST, le=0.5, description="largest opening, inner face to inner face, m")
    min_width: float = Field(0.0, ge=0, le=0.5, description="smallest object that can be held, m")
    finger_width: float = Field(0.021, ge=SMALLEST, le=0.2, description="extent of a finger across the closing axis (y), m")
    finger_thickness: float = Field(0.0264, ge=SMALLEST, le=0.1, description="extent of a finger along the closing axis (x), m")
    finger_depth: float = Field(0.0463, ge=SMALLEST, le=0.5, description="length of a finger from palm to tip (z), m")
    pad_thickness: float | None = Field(
        0.0145, ge=SMALLEST, le=0.1, description="as finger_thickness, of the lowest pad_depth; none: all alike, m"
    )
    pad_depth: float | None = Field(0.018, ge=SMALLEST, le=0.5, description="how far above the tip a finger is that thin, m")
    palm_width: float = Field(0.204, ge=SMALLEST, le=0.5, description="extent of the palm along the closing axis (x), m")
    palm_thickness: float = Field(0.063, ge=SMALLEST, le=0.5, description="extent of the palm across the closing axis (y), m")
    cup_radius: float = Field(0.015, ge=SMALLEST, le=0.1, description="radius of the suction cup, m")
    seal_compliance: float | None = Field(
        None, ge=0, le=0.05, description="unevenness that the cup's lip takes up, m; none: a sixth of cup_radius"
    )
    cup_moment: float | None = Field(
        None, ge=0, le=100, description="moment that the cup's seal resists, N m; none: unknown, half of force times radius"
    )
    tcp_offset: float = Field(
        0.0, ge=-0.5, le=0.5, description="distance of the robot's tool frame behind the tips, along -z, m"
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, str):
            if given not in PRESETS:
                raise ValueError(f"no gripper {given[:64]!r}: expected its sizes, or one of {', '.join(PRESETS)}")
            given = PRESETS[given]
        if isinstance(given, dict) and any(size in given for size in _FINGER_SIZES):
            # The Panda's pads belong to the Panda's fingers.
            return {"pad_thickness": None, "pad_depth": None, **given}
        return given

    @model_validator(mode="after")
    def _sizes_in_order(self) -> Gripper:
        if self.min_width >= self.max_width:
            raise ValueError(f"expected min_width < max_width, got {self.min_width} >= {self.max_width} (metres)")
        if self.kind == "parallel_jaw" and self.max_width + 2 * self.finger_thickness > 0.6:
            raise ValueError("expected max_width plus both fingers to be at most 0.6 m: are the sizes in metres?")
        if (self.pad_thickness is None) != (self.pad_depth is None):
            raise ValueError("expected pad_thickness and pad_depth together, or neither: all of a finger is then as thick")
        if self.pad_thickness is not None and self.pad_thickness > self.finger_thickness:
            raise ValueError(
                f"expected pad_thickness <= finger_thickness, got {self.pad_thickness} > {self.finger_thickness}: a finger "
                "that is thickest at its pad needs that room all the way, give it as finger_thickness alone"
            )
        return self

    @property
    def pad(self) -> tuple[float, float]:
        """Thickness of a finger at its tip, and the height above the tip from which it is `finger_thickness` thick, m: all of
        its length where it is equally thick all over."""
        if self.pad_thickness is None or self.pad_depth is None:
            return self.finger_thickness, self.finger_depth
        return self.pad_thickness, min(self.pad_depth, self.finger_depth)

    @property
    def lip(self) -> tuple[float, float]:
        """How much unevenness (m) the cup's lip takes up, and by which angle (rad) it follows a surface that turns away."""
        travel = LIP_PER_RADIUS * self.cup_radius if self.seal_compliance is None else self.seal_compliance
        return travel, min(LIP_ANGLE_PER_SHARE * travel / self.cup_radius, math.pi / 2)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        if handler.mode == "serialization":
            return schema
        return {"anyOf": [schema, {"type": "string", "enum": list(PRESETS), "description": "name of a preset"}]}
