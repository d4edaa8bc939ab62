"""Objects made of primitives, each fully given by its name `procedural/<shape>-<seed>`."""

import math
import zlib
from collections.abc import Callable

import numpy as np

from sim_worker.world.objects.objects import Part, PartsModel

Quaternion = tuple[float, float, float, float]
"""Turns an axis along z into one along x."""


def _about_z(angle: float) -> Quaternion:
    return (0.0, 0.0, math.sin(angle / 2), math.cos(angle / 2))


def _l_shape(r: np.random.Generator) -> list[Part]:
    a, b, t, h = r.uniform(0.06, 0.12), r.uniform(0.04, 0.09), r.uniform(0.015, 0.03), r.uniform(0.02, 0.04)
    return [Part("box", (a, t, h)), Part("box", (t, b, h), (-(a - t) / 2, (b + t) / 2, 0))]


def _t_shape(r: np.random.Generator) -> list[Part]:
    a, b, t, h = r.uniform(0.06, 0.12), r.uniform(0.04, 0.1), r.uniform(0.015, 0.03), r.uniform(0.02, 0.04)
    return [Part("box", (a, t, h)), Part("box", (t, b, h), (0, (b + t) / 2, 0))]


def _u_shape(r: np.random.Generator) -> list[Part]:
    a, b, t, h = r.uniform(0.06, 0.11), r.uniform(0.03, 0.08), r.uniform(0.012, 0.025), r.uniform(0.02, 0.04)
    x, y = (a - t) / 2, (b + t) / 2
    return [Part("box", (a, t, h)), Part("box", (t, b, h), (-x, y, 0)), Part("box", (t, b, h), (x, y, 0))]


def ring_parts(radius: float, thickness: float, height: float, sides: int, z: float = 0.0) -> list[Part]:
    """A wall of boxes around the z axis, `radius` to its middle."""
    length = 2 * (radius + thickness / 2) * math.tan(math.pi / sides)
    parts = []
    for i in range(sides):
        angle = 2 * math.pi * i / sides
        position = (radius * math.cos(angle), radius * math.sin(angle), z)
        parts.append(Part("box", (thickness, length, height), position, _about_z(angle)))
    return parts


def _ring(r: np.random.Generator) -> list[Part]:
    return ring_parts(r.uniform(0.025, 0.05), r.uniform(0.006, 0.014), r.uniform(0.012, 0.03), 12)


def _cup(r: np.random.Generator) -> list[Part]:
    radius, wall, height, floor = r.uniform(0.025, 0.04), r.uniform(0.004, 0.007), r.uniform(0.05, 0.1), 0.006
    base = Part("cylinder", (radius, floor), (0, 0, -(height - floor) / 2))
    return [base, *ring_parts(radius, wall, height, 10)]


SHAPES: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    "box": lambda r: [Part("box", (r.uniform(0.025, 0.07), r.uniform(0.03, 0.1), r.uniform(0.02, 0.08)))],
    "cylinder": lambda r: [Part("cylinder", (r.uniform(0.012, 0.034), r.uniform(0.03, 0.12)))],
    "capsule": lambda r: [Part("capsule", (r.uniform(0.012, 0.03), r.uniform(0.03, 0.09)))],
    "ball": lambda r: [Part("sphere", (r.uniform(0.015, 0.035),))],
    "bar": lambda r: [Part("box", (r.uniform(0.012, 0.03), r.uniform(0.1, 0.2), r.uniform(0.012, 0.03)))],
    "plate": lambda r: [Part("box", (r.uniform(0.05, 0.1), r.uniform(0.06, 0.14), r.uniform(0.006, 0.012)))],
    "l": _l_shape,
    "t": _t_shape,
    "u": _u_shape,
    "ring": _ring,
    "cup": _cup,
}


def box_model(name: str) -> PartsModel:
    """The box of a name `box/<x>x<y>x<z>`, its sides in millimetres. Raises ValueError."""
    sides = [float(side) / 1000 for side in name.removeprefix("box/").split("x")]
    if len(sides) != 3 or not all(0.001 <= side <= 0.3 for side in sides):
        raise ValueError(f"expected box/<x>x<y>x<z>, three sides of 1 to 300 mm, got {name!r}")
    return PartsModel(name, (Part("box", (sides[0], sides[1], sides[2])),))


def procedural_model(name: str) -> PartsModel:
    """The object of a name `procedural/<shape>-<seed>`; the same name is always the same object. Raises ValueError."""
    shape, _, seed = name.removeprefix("procedural/").rpartition("-")
    if shape not in SHAPES or not seed.isdigit():
        raise ValueError(f"expected procedural/<shape>-<seed> with a shape of {sorted(SHAPES)}, got {name!r}")
    random = np.random.default_rng([int(seed), zlib.crc32(shape.encode())])
    parts = [
        Part(
            p.shape,
            tuple(map(float, p.size)),
            (float(p.position[0]), float(p.position[1]), float(p.position[2])),
            p.orientation,
        )
        for p in SHAPES[shape](random)
    ]
    return PartsModel(name, tuple(parts), density=float(random.uniform(200, 900)))
