"""Things of a household made of convex primitives, each fully given by its name `household/<shape>-<number>`.

They are to judge on and never to learn from: of all sets they look least like what is learned from.
"""

import math
import zlib
from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from sim_worker.world.objects.objects import Part, PartsModel
from sim_worker.world.objects.procedural import Quaternion, ring_parts

VARIANTS = 5
"""Of each shape: numbers 0 to VARIANTS - 1."""
SIDEWAYS: Quaternion = (0.0, math.sqrt(0.5), 0.0, math.sqrt(0.5))
"""Turns an axis along z into one along x."""


def _stacked(*rods: tuple[float, float]) -> list[Part]:
    """Cylinders (radius, length) on one axis, each on top of the one before."""
    parts, bottom = [], 0.0
    for radius, length in rods:
        parts.append(Part("cylinder", (radius, length), (0, 0, bottom + length / 2)))
        bottom += length
    return parts


def _bottle(r: np.random.Generator) -> list[Part]:
    body, neck = r.uniform(0.022, 0.036), r.uniform(0.009, 0.014)
    return _stacked(
        (body, r.uniform(0.07, 0.12)), ((body + neck) / 2, 0.012), (neck, r.uniform(0.015, 0.035)), (neck + 0.003, 0.014)
    )


def _can(r: np.random.Generator) -> list[Part]:
    return [Part("cylinder", (r.uniform(0.026, 0.036), r.uniform(0.045, 0.12)))]


def _carton(r: np.random.Generator) -> list[Part]:
    return [Part("box", (r.uniform(0.025, 0.072), r.uniform(0.05, 0.11), r.uniform(0.06, 0.16)))]


def _bowl(r: np.random.Generator) -> list[Part]:
    """Twelve slats that lean outwards round a foot."""
    foot, wall, height, lean = r.uniform(0.028, 0.04), r.uniform(0.004, 0.006), r.uniform(0.03, 0.05), r.uniform(0.3, 0.6)
    parts = [Part("cylinder", (foot, wall), (0, 0, wall / 2))]
    middle = foot + height / 2 * math.tan(lean)
    broad = 2 * (foot + height * math.tan(lean)) * math.tan(math.pi / 12)
    for turn in np.arange(12) * math.pi / 6:
        place = (middle * math.cos(turn), middle * math.sin(turn), height / 2)
        x, y, z, w = (Rotation.from_euler("z", turn) * Rotation.from_euler("y", lean)).as_quat().tolist()
        parts.append(Part("box", (wall, broad, height / math.cos(lean)), place, (x, y, z, w)))
    return parts


def _mug(r: np.random.Generator) -> list[Part]:
    """A cup with a handle of three bars."""
    radius, wall, height = r.uniform(0.03, 0.037), r.uniform(0.004, 0.006), r.uniform(0.07, 0.1)
    out, bar, far = r.uniform(0.02, 0.03), r.uniform(0.007, 0.01), 0.3 * height
    handle = [
        Part("box", (out, bar, bar), (radius + out / 2, 0, far)),
        Part("box", (out, bar, bar), (radius + out / 2, 0, -far)),
        Part("box", (bar, bar, 2 * far + bar), (radius + out, 0, 0)),
    ]
    return [Part("cylinder", (radius, 0.006), (0, 0, 0.003 - height / 2)), *ring_parts(radius, wall, height, 10), *handle]


def _screwdriver(r: np.random.Generator) -> list[Part]:
    grip, shaft = r.uniform(0.08, 0.11), r.uniform(0.06, 0.11)
    return [
        Part("capsule", (r.uniform(0.01, 0.016), grip - 0.03), (0, 0, 0), SIDEWAYS),
        Part("cylinder", (r.uniform(0.003, 0.005), shaft), ((grip + shaft) / 2 - 0.01, 0, 0), SIDEWAYS),
    ]


def _hammer(r: np.random.Generator) -> list[Part]:
    length, thick = r.uniform(0.13, 0.19), r.uniform(0.018, 0.026)
    return [
        Part("box", (length, r.uniform(0.016, 0.024), thick - 0.004)),
        Part("box", (thick, r.uniform(0.07, 0.1), thick), (length / 2, 0, 0)),
    ]


def _wrench(r: np.random.Generator) -> list[Part]:
    length, thick, width = r.uniform(0.11, 0.15), r.uniform(0.007, 0.011), r.uniform(0.014, 0.02)
    prong = 0.4 * width
    jaw = [Part("box", (1.4 * width, prong, thick), (length / 2 + 0.6 * width, side * 0.8 * width, 0)) for side in (-1, 1)]
    return [
        Part("box", (length, width, 0.8 * thick)),
        Part("box", (width, 2 * width, thick), (length / 2, 0, 0)),
        *jaw,
        Part("cylinder", (width, thick), (-length / 2, 0, 0)),
    ]


def _pliers(r: np.random.Generator) -> list[Part]:
    length, thick, open_by = r.uniform(0.13, 0.17), r.uniform(0.009, 0.014), r.uniform(0.12, 0.25)
    arms = []
    for side in (-1, 1):
        turn = (0.0, 0.0, math.sin(side * open_by / 2), math.cos(side * open_by / 2))
        arms.append(Part("box", (length, r.uniform(0.01, 0.014), thick), (0, 0, 0), turn))
    return [*arms, Part("cylinder", (0.012, thick + 0.002))]


def _bulb(r: np.random.Generator) -> list[Part]:
    radius, socket = r.uniform(0.024, 0.034), r.uniform(0.012, 0.014)
    neck = 0.75 * radius
    return [
        Part("sphere", (radius,)),
        Part("cylinder", (neck, 0.6 * radius), (0, 0, -0.75 * radius)),
        Part("cylinder", (socket, 0.028), (0, 0, -1.05 * radius - 0.014)),
    ]


def _lemon(r: np.random.Generator) -> list[Part]:
    radius, longer = r.uniform(0.021, 0.03), r.uniform(0.012, 0.022)
    return [
        Part("capsule", (radius, longer)),
        Part("capsule", (0.55 * radius, longer + 1.15 * radius)),
        Part("capsule", (0.2 * radius, longer + 2 * radius)),
    ]


HOUSEHOLD_SHAPES: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    "bottle": _bottle,
    "can": _can,
    "carton": _carton,
    "bowl": _bowl,
    "mug": _mug,
    "screwdriver": _screwdriver,
    "hammer": _hammer,
    "wrench": _wrench,
    "pliers": _pliers,
    "bulb": _bulb,
    "lemon": _lemon,
}
CURVED = ("bulb", "can", "lemon")
"""Shapes without a flat side, but for a can's ends."""


def household_names(*shapes: str) -> list[str]:
    """All objects of these shapes; of every one without any."""
    return [f"household/{shape}-{number}" for shape in shapes or HOUSEHOLD_SHAPES for number in range(VARIANTS)]


def household_model(name: str) -> PartsModel:
    """The object of a name of `household_names`. Raises KeyError for another shape."""
    shape, _, number = name.removeprefix("household/").rpartition("-")
    random = np.random.default_rng([int(number), zlib.crc32(f"household {shape}".encode())])
    return PartsModel(name, tuple(HOUSEHOLD_SHAPES[shape](random)), density=float(random.uniform(200, 600)))
