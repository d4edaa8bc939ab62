"""Other hands and other cameras: what a scene draws by its seed when it is asked to vary, so that the seed replays it.

Both learning and the loop draw here; which share of scenes keeps the usual hand or camera stands in HANDS and CAMERAS.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from grasp_client.contract import PRESETS, Gripper
from sim_worker.world.simulation.spec import WORKSPACE, CameraSpec, SceneSpec

Range = tuple[float, float]
HANDS = {"own": 0.35, "like it": 0.25, "preset": 0.15, "any": 0.25}
"""Shares of scenes by hand: the caller's; one whose sizes are up to LIKE off; one of the presets; one of any opening."""
LIKE = 0.2
"""Share of its size by which a size of a hand like the caller's differs, at most."""
OPENINGS = (0.005, 0.14)
"""m: openings of any hand, evenly in their logarithm."""
USUAL_OPENINGS = (0.06, 0.10)
"""m: between these half of the scenes keep objects of their own sizes."""
FILLED = (0.3, 0.9)
"""Share of the opening that the middle side of an object takes, where objects are scaled to the hand."""
CUPS = (0.005, 0.03)
"""m: radii of any cup, evenly in their logarithm."""
LEAST_PARTS = (0.0025, 0.002, 0.008)
"""m: finger width, finger thickness and finger depth of the smallest hands."""


@dataclass(frozen=True)
class View:
    """Ranges of what a camera is drawn from. distance: to the aim point, m. pitch: of a pixel at the aim point, m. lean: from
    straight down, rad. height: of the aim point over the table, m. size: of the image, pixels; none: what shows the whole
    workspace."""

    distance: Range
    pitch: Range
    lean: Range
    height: float = 0.0
    size: tuple[int, int] | None = None


TILTED, NEAR, FAR, FINE, SIDE, SIDE_640 = "tilted", "near", "far", "fine", "side", "side_640"
FROM_SIDE = (math.radians(45), math.radians(75))
VIEWS = {
    TILTED: View((0.6, 0.9), (0.0014, 0.002), (math.radians(20), math.radians(45))),
    NEAR: View((0.25, 0.35), (0.0008, 0.0012), (0.0, math.radians(10))),
    FAR: View((1.2, 2.0), (0.002, 0.0033), (0.0, math.radians(20))),
    FINE: View((0.5, 0.8), (0.0008, 0.0012), (0.0, math.radians(20))),
    SIDE: View((0.5, 0.9), (0.0011, 0.0019), FROM_SIDE, 0.05),
    # The camera of VGN's and GIGA's test scenes, but for its lean, which is 60 degrees there.
    SIDE_640: View((0.6, 0.6), (0.6 / 540, 0.6 / 540), FROM_SIDE, 0.05, (640, 480)),
}
CAMERAS = {"usual": 0.45, TILTED: 0.25, NEAR: 0.12, FAR: 0.1, FINE: 0.08}
"""Shares of scenes by camera."""
AT_SIDE = 0.6
"""Share of the scenes that vary `sides` whose camera stands at the side."""
SEEN = 4 / 3
"""Half side of what a camera sees, of the workspace's: as of the default camera."""
USUAL = View((0.7, 0.7), (0.7 / 420, 0.7 / 420), (0.0, 0.0))
"""The default camera, for scenes that are smaller than usual."""
LEAST_DISTANCE = 0.2
"""m: nearer than this no depth camera sees."""
OVER_WALLS = 0.4
"""m: least distance of a camera over a bin or over things that stand."""


def varied(spec: SceneSpec, gripper: Gripper) -> tuple[SceneSpec, Gripper]:
    """The scene as its `vary` has it, and the hand to grasp with; both as given where that names neither.

    gripper: the caller's own, which a share of the scenes keeps, and all of them where the objects are the caller's own too.
    """
    if "hands" in spec.vary and spec.object_set != "folder":
        gripper = _hand(gripper, spec.random("hand"))
        if (spec.bin or spec.shelf) and gripper.kind == "parallel_jaw" and not _usual(gripper):
            gripper = _like(Gripper(), spec.random("hand", "bin"))
        if span := _span(gripper, spec.random("hand", "span")):
            spec = _changed(spec, object_span=span)
    return seen_from(spec, _view_of(spec)), gripper


def _view_of(spec: SceneSpec) -> str:
    """Which camera a scene has that varies it. One that looks into a shelf is drawn with the shelf."""
    if spec.shelf:
        return "usual"
    if "sides" in spec.vary and spec.random("side").random() < AT_SIDE:
        return SIDE
    random = spec.random("camera")
    return str(random.choice(list(CAMERAS), p=list(CAMERAS.values()))) if "cameras" in spec.vary else "usual"


def seen_from(spec: SceneSpec, name: str, lean: float | None = None) -> SceneSpec:
    """The scene with a camera of VIEWS, drawn by its seed, or with the usual one. lean: its angle from straight down, rad.

    Raises ValueError for another camera than a shelf's own before a shelf.
    """
    if spec.shelf and (name != "usual" or lean is not None):
        raise ValueError("a shelf is seen by the camera that is drawn with it: expected the view `usual` and no lean")
    view = VIEWS.get(name) or (USUAL if spec.scale < 1 or lean is not None else None)
    if view and lean is not None:
        view = replace(view, lean=(lean, lean))
    return _changed(spec, camera=_camera(spec, view, spec.random("view"))) if view else spec


def _camera(spec: SceneSpec, view: View, random: np.random.Generator) -> CameraSpec:
    """A camera drawn from the ranges of a view, over the whole workspace. What is small is seen from nearer and finer."""
    distance, pitch, lean = (float(random.uniform(*span)) for span in (view.distance, view.pitch, view.lean))
    scale = min(spec.scale, 1.0)
    distance, pitch = max(LEAST_DISTANCE, distance * math.sqrt(scale)), pitch * scale
    if spec.kind == "packed" or spec.bin:
        distance = max(distance, OVER_WALLS)
    width, height = view.size or (math.ceil(2 * SEEN * max(half, WORKSPACE * scale) / pitch) for half in spec.workspace)
    lean_to, aim = (lean, float(random.uniform(-math.pi, math.pi))), (0.0, 0.0, view.height * scale)
    return CameraSpec(width=width, height=height, focal=distance / pitch, distance=distance, lean=lean_to, aim=aim)


def _changed(spec: SceneSpec, **changes: object) -> SceneSpec:
    """With other fields. What of the rest was not given, as the default camera, follows from them."""
    return SceneSpec.model_validate({**spec.model_dump(exclude_unset=True), **changes})


def _hand(own: Gripper, random: np.random.Generator) -> Gripper:
    source = str(random.choice(list(HANDS), p=list(HANDS.values())))
    if source == "own":
        return own
    if source == "like it":
        return _like(own, random)
    if source == "preset":
        presets = [hand for hand in map(_preset, PRESETS) if hand.kind == own.kind]
        return presets[int(random.integers(len(presets)))]
    return _any_cup(own, random) if own.kind == "suction" else _any_jaw(random)


def _preset(name: str) -> Gripper:
    return Gripper.model_validate(name)


def _usual(jaw: Gripper) -> bool:
    return USUAL_OPENINGS[0] <= jaw.max_width <= USUAL_OPENINGS[1]


def _span(gripper: Gripper, random: np.random.Generator) -> Range | None:
    """Sizes of objects for a jaw; None: as they are."""
    if gripper.kind == "suction" or (_usual(gripper) and random.random() < 0.5):
        return None
    return FILLED[0] * gripper.max_width, FILLED[1] * gripper.max_width


def _like(own: Gripper, random: np.random.Generator) -> Gripper:
    """Every size that matters to this kind of hand up to LIKE off."""
    jaw = ("max_width", "finger_width", "finger_thickness", "finger_depth", "pad_thickness", "pad_depth", "palm_width")
    sizes = ("cup_radius", "seal_compliance", "cup_moment") if own.kind == "suction" else (*jaw, "palm_thickness")
    given = {name: value for name in sizes if (value := getattr(own, name)) is not None}
    return _valid(own, {name: value * random.uniform(1 - LIKE, 1 + LIKE) for name, value in given.items()})


def _any_cup(own: Gripper, random: np.random.Generator) -> Gripper:
    return _valid(own, {"cup_radius": _log_uniform(CUPS, random), "seal_compliance": None, "cup_moment": None})


def _any_jaw(random: np.random.Generator) -> Gripper:
    opening = _log_uniform(OPENINGS, random)
    shares = ((0.15, 0.35), (0.10, 0.30), (0.45, 0.90))
    width, thickness, depth = (
        max(least, opening * random.uniform(*share)) for least, share in zip(LEAST_PARTS, shares, strict=True)
    )
    sizes = {
        "max_width": opening,
        "finger_width": width,
        "finger_thickness": thickness,
        "finger_depth": depth,
        "pad_thickness": thickness * random.uniform(0.4, 1.0),
        "pad_depth": depth * random.uniform(0.2, 0.6),
        "palm_width": opening + 2 * thickness + random.uniform(0.0, 0.5) * opening,
        "palm_thickness": max(width, random.uniform(0.4, 0.9) * opening),
    }
    return Gripper.model_validate(sizes)


def _valid(own: Gripper, changes: dict[str, float | None]) -> Gripper:
    merged = {**own.model_dump(), **changes}
    if own.kind == "parallel_jaw" and merged["pad_thickness"] is not None:
        merged["pad_thickness"] = min(merged["pad_thickness"], merged["finger_thickness"])
        merged["pad_depth"] = min(merged["pad_depth"], merged["finger_depth"])
    return Gripper.model_validate(merged)


def _log_uniform(span: Range, random: np.random.Generator) -> float:
    return math.exp(random.uniform(*np.log(span)))
