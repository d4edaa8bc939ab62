"""The approach directions that a request allows."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from grasp_client.contract.base import ApiModel

SHORTEST = 1e-3


def _long_enough(axis: list[float]) -> list[float]:
    if math.hypot(*axis) < SHORTEST:
        raise ValueError(f"expected a direction, of any length but {SHORTEST:g} at least, got {axis}")
    return axis


Component = Annotated[float, Field(ge=-1e3, le=1e3)]
Axis = Annotated[list[Component], Field(min_length=3, max_length=3), AfterValidator(_long_enough)]


class Approach(ApiModel):
    """Hands may come along `axis`, or along what differs from it by `max_angle` at most."""

    axis: Axis | Literal["camera"] = Field(
        description='the way that the hand moves, [x, y, z] in the base frame, [0, 0, -1] straight down; or "camera": along '
        "the optical axis"
    )
    max_angle: float = Field(math.radians(20), ge=0, le=math.pi, description="most that an approach differs from it, rad")
