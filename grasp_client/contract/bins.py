"""The bin that a request names."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, model_validator

from grasp_client.contract.base import FARTHEST, ApiModel

Metres = Annotated[float, Field(ge=-FARTHEST, le=FARTHEST)]
Point = Annotated[list[Metres], Field(min_length=3, max_length=3)]
SHORTEST, LONGEST = 0.03, 5.0
"""m: of a side."""
UNEVEN = 0.01
"""m: how far the fourth corner may lie from where a parallelogram with the other three has it, beside a tenth of a side."""


class Bin(ApiModel):
    """Where a bin stands. Its walls rise from the sides of the floor, away from it at right angles, up to `wall_height`."""

    corners: Annotated[list[Point], Field(min_length=4, max_length=4)] = Field(
        description="inner corners of the floor, in order round it, base frame, m"
    )
    wall_height: float = Field(ge=0.005, le=2.0, description="of the rim over the floor, m")

    @model_validator(mode="after")
    def _rectangle(self) -> Bin:
        a, b, c, d = self.corners
        sides = [math.dist(*pair) for pair in ((a, b), (b, c), (c, d), (d, a))]
        if not all(SHORTEST <= side <= LONGEST for side in sides):
            raise ValueError(
                f"expected sides of {SHORTEST:g} to {LONGEST:g} m between neighbouring corners, got "
                f"{', '.join(f'{side:.3g}' for side in sides)}: are they in metres, and in order round the floor?"
            )
        off = math.dist(d, [x + z - y for x, y, z in zip(a, b, c, strict=True)])
        square = sum((x - y) * (z - y) for x, y, z in zip(a, b, c, strict=True)) / (sides[0] * sides[1])
        if off > UNEVEN + 0.1 * min(sides) or abs(square) > 0.35:
            raise ValueError(
                f"expected the inner corners of a rectangular floor in order round it, got corners that miss it by {off:.3g} m "
                f"and an angle of {math.degrees(math.acos(max(-1.0, min(1.0, square)))):.0f} degrees"
            )
        return self
