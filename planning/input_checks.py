"""What looks odd about an observation and its options, told in words before anybody trusts the answer.

Pure, and about a sixth of a millisecond for any image: a thousand readings and one plane through them are looked at. A check
answers with a text of what was seen, what was expected and what to do, or with None. What cannot be right at all is refused
where it is decoded (`grasp_client.imaging`); what is told here may still be right.
"""

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np

from grasp_client.contract import PlanRequest
from grasp_client.observation import Observation
from planning.scene.support_plane import (
    FEWEST,
    MAX_STEEPNESS,
    OPTICAL_AXIS,
    TABLE_SHARE,
    Plane,
    surface,
    thinned,
)

MAX_LEAN = math.radians(10)
"""Farthest that the plane which fills the picture may lean from level under the camera pose given."""
FILLED = 0.8
LOOKS_DOWN = math.sin(math.radians(15))
"""A camera that looks down by more than this, and sees an upright plane fill most of the picture, looks at a table."""
FIELD_OF_VIEW = (math.radians(12), math.radians(130))
OFF_CENTRE = 0.2
"""Farthest of the principal point from the middle of the image, in sides of the image."""
MAX_TRANSLATION = 10.0
"""m. No arm has its base farther from its camera; millimetres begin here."""
DISTANCES = (0.1, 3.5)
"""m: median distances at which cameras over a table, bin or shelf are used."""
UNIT_FACTORS = (0.1, 0.25, 0.2, 0.001, 10.0, 4.0, 5.0, 1000.0)
"""Depth units that are confused with each other: of 1, 0.1, 0.25 and 0.2 mm, and metres."""
FLAT = 0.004
"""m. A depth image that spans less shows nothing; depth buffers of renderers do, near 1."""
SCALED_BELOW = 0.35
"""Of an image that reaches to 1 exactly: readings this far below it are not of the same table, m."""
SPARSE = 0.35
"""Share of pixels with a reading above which nothing was cut away."""
MOST_DARK_NOISE = 24
"""Colour values of an image that shows nothing lie this near to each other."""
TABLE_DEPTH_OFF = 0.03
"""m. Largest difference between `table_depth` and the plane that is seen."""


class _Look:
    """What the checks look at, each worked out when first asked for."""

    def __init__(self, observation: Observation, request: PlanRequest) -> None:
        self.observation, self.request, self.camera = observation, request, request.camera
        image = observation.rgb if observation.depth is None else observation.depth
        assert image is not None
        self.rows, self.columns = image.shape[:2]

    @cached_property
    def pose(self) -> np.ndarray | None:
        """Camera to base frame, (4, 4)."""
        return None if self.request.camera_pose is None else np.asarray(self.request.camera_pose)

    @cached_property
    def _surface(self) -> tuple[np.ndarray | None, Plane | None]:
        depth = self.observation.depth
        likely = OPTICAL_AXIS if self.pose is None else self.pose[2, :3]
        return (None, None) if depth is None else surface(depth, self.camera, likely)

    @property
    def sampled(self) -> np.ndarray | None:
        """Every n-th reading along both axes, m, 0 where there is none."""
        return self._surface[0]

    @cached_property
    def readings(self) -> np.ndarray:
        """(N,), sorted."""
        return np.empty(0) if self.sampled is None else np.sort(self.sampled[self.sampled > 0])

    @cached_property
    def table(self) -> Plane | None:
        """The plane on which most readings lie, where it is large enough to be what the things lie on."""
        plane = self._surface[1]
        return plane if plane and plane.share >= TABLE_SHARE else None


def inspect_input(observation: Observation, request: PlanRequest) -> list[str]:
    """Warnings `kind: text` about an observation and its options, [] where nothing is odd or `checks` is off."""
    if request.checks == "off":
        return []
    look = _Look(observation, request)
    return [f"{kind}: {text}" for kind, check in CHECKS.items() if (text := check(look))]


def _principal_point(look: _Look) -> str | None:
    camera = look.camera
    if camera is None:
        return None
    middle = ((look.columns - 1) / 2, (look.rows - 1) / 2)
    if max(abs(camera.cx - middle[0]) / look.columns, abs(camera.cy - middle[1]) / look.rows) <= OFF_CENTRE:
        return None
    return (
        f"the principal point ({camera.cx:g}, {camera.cy:g}) lies far from the middle of the {look.columns} x {look.rows} "
        "image: are these the intrinsics of another resolution, or was the image cropped without moving cx and cy? With "
        "`width` and `height` in `camera` they are scaled"
    )


def _field_of_view(look: _Look) -> str | None:
    camera = look.camera
    if camera is None:
        return None
    angles = [2 * math.atan(side / (2 * focal)) for side, focal in ((look.columns, camera.fx), (look.rows, camera.fy))]
    narrow, wide = FIELD_OF_VIEW
    if all(narrow <= angle <= wide for angle in angles) and 0.7 <= camera.fx / camera.fy <= 1.4:
        return None
    return (
        f"fx {camera.fx:g} and fy {camera.fy:g} give the {look.columns} x {look.rows} image a field of view of "
        f"{math.degrees(angles[0]):.0f} x {math.degrees(angles[1]):.0f} degrees: expected focal lengths in pixels of the sent "
        "image, usually 0.6 to 1.5 times its width and nearly equal"
    )


def _camera_far_from_base(look: _Look) -> str | None:
    if look.pose is None or (far := math.hypot(*look.pose[:3, 3])) <= MAX_TRANSLATION:
        return None
    return f"camera_pose puts the camera {far:.4g} m from the robot's base: expected metres, are these millimetres?"


def _gravity(look: _Look) -> str | None:
    if look.pose is None or look.table is None:
        return None
    lean = math.acos(min(1.0, abs(float(look.pose[2, :3] @ look.table.normal))))
    # What fills the picture of a level camera may be a wall, and a wall stands upright.
    upright = lean >= math.pi / 2 - MAX_LEAN and (look.table.share < FILLED or -float(look.pose[2, 2]) < LOOKS_DOWN)
    if lean <= MAX_LEAN or upright:
        return None
    return (
        f"under this camera_pose the plane that fills {look.table.share:.0%} of the picture leans {math.degrees(lean):.0f} "
        "degrees from level: expected the camera frame (x right, y down, z forward) mapped to a base frame whose z points up. "
        "Is the matrix inverted, or of another camera?"
    )


def _depth_unit(look: _Look) -> str | None:
    if not len(look.readings):
        return None
    median, scale = float(look.readings[len(look.readings) // 2]), look.request.depth_scale
    if look.pose is not None and look.table is not None:
        up = look.pose[2]
        camera_height, table = float(up[3]), float(up[3] - look.table.distance * abs(up[:3] @ look.table.normal))
        for factor in UNIT_FACTORS:
            # The same table at the height of the base, had the depths another unit.
            corrected = camera_height - factor * (camera_height - table)
            if abs(table) > 0.3 and abs(corrected) < 0.03 * camera_height:
                return (
                    f"under this camera_pose the table lies at {table:.3g} m in the base frame, and would lie at 0 if depths "
                    f"were {factor:g} times what was sent: is `depth_scale`, metres per unit, now {scale:g}, right?"
                )
    if DISTANCES[0] <= median <= DISTANCES[1]:
        return None
    return (
        f"the median distance is {median:.3g} m, where hardly any arm reaches: expected {DISTANCES[0]:g} to "
        f"{DISTANCES[1]:g} m. Is `depth_scale`, metres per unit of an integer image, now {scale:g}, right? 0.0001 for tenths "
        "of a millimetre"
    )


def _no_distances(look: _Look) -> str | None:
    depth = look.observation.depth
    if depth is None or len(look.readings) < FEWEST:
        return None
    low, high = float(look.readings[0]), float(look.readings[-1])
    if high > 1.0 or (low >= SCALED_BELOW and high - low >= FLAT):
        return None
    high = float(depth.max())  # of all pixels, which takes longer
    if high <= 1.0 and high - low < FLAT:
        return (
            f"all readings lie between {low:.4f} and {high:.4f}: an empty table seen straight on, or the depth buffer of a "
            "renderer? Expected metres along the optical axis; from a depth buffer d with planes near and far they are "
            "far * near / (far - (far - near) * d)"
        )
    if high == 1.0 and low < SCALED_BELOW:
        return (
            "the readings fill 0 to 1 exactly, as a normalised image does: expected metres along the optical axis, "
            "not scaled to a range"
        )
    return None


def _background(look: _Look) -> str | None:
    if look.sampled is None or not len(look.readings):
        return None
    seen = look.sampled > 0
    if (share := np.count_nonzero(seen) / seen.size) > SPARSE:
        return None
    rows, columns = (max(1, side // 12) for side in seen.shape)
    frame = np.concatenate([seen[:rows].ravel(), seen[-rows:].ravel(), seen[:, :columns].ravel(), seen[:, -columns:].ravel()])
    if frame.mean() > 0.02:
        return None
    return (
        f"only {share:.0%} of the pixels have a reading, and none near the image's edge: was the background removed? "
        "Send the whole depth image, and a `segmask` of what may be grasped: where nothing is seen no finger may go"
    )


def _steep_table(look: _Look) -> str | None:
    if look.pose is not None or look.table is None:
        return None
    if (steep := look.table.steepness) <= MAX_STEEPNESS:
        return None
    return (
        f"the plane that fills {look.table.share:.0%} of the picture is seen at {math.degrees(steep):.0f} degrees, and was "
        "taken for a level table, because no `camera_pose` was sent: send it (camera to robot base, z up) to tell where down is"
    )


def _table_depth(look: _Look) -> str | None:
    given, table = look.request.table_depth, look.table
    if given is None or look.pose is None or table is None:
        return None
    if abs(look.pose[2, :3] @ table.normal) < math.cos(MAX_LEAN):
        return None
    along = table.distance / max(1e-6, abs(float(table.normal[2])))
    if abs(along - given) <= TABLE_DEPTH_OFF:
        return None
    return (
        f"table_depth is {given:.3g} m, but the level plane that fills {table.share:.0%} of the picture lies {along:.3g} m "
        "away along the optical axis: expected the distance from the camera to the table, metres"
    )


def _mask(look: _Look) -> str | None:
    mask = look.observation.segmask
    if mask is None:
        return None
    share = float(mask.mean())
    if share == 0:
        return "segmask allows no pixel: expected non-zero, or fractions of 0.5 or more, on what may be grasped"
    if share > 0.98:
        return f"segmask covers {share:.0%} of the image: expected only what may be grasped; is it inverted?"
    depth = look.observation.depth
    if depth is not None and not (depth[mask] > 0).any():
        return "no pixel of segmask has a depth reading: is it registered to the depth image?"
    return None


def _goal(look: _Look) -> str | None:
    goal, depth = look.observation.goal, look.observation.depth
    if goal is None or depth is None or (depth[goal] > 0).any():
        return None
    return "no pixel of goal has a depth reading: is it registered to the depth image, or is the thing hidden?"


def _colour(look: _Look) -> str | None:
    rgb = look.observation.rgb
    if rgb is None:
        return None
    seen = thinned(rgb)
    low, high = int(seen.min()), int(seen.max())  # one small thing on a plain table is less than a thousandth
    if high - low >= MOST_DARK_NOISE:
        return None
    return f"all colour values lie between {low} and {high}: is the lens covered, or the range 0 to 1?"


def _region(look: _Look) -> str | None:
    region, depth = look.request.region, look.observation.depth
    if region is None or depth is None:
        return None
    u0, v0, u1, v1 = (max(0, round(edge)) for edge in region)
    if (depth[v0 : v1 + 1, u0 : u1 + 1] > 0).any():
        return None
    return f"region {region} has no depth reading"


CHECKS: dict[str, Callable[[_Look], str | None]] = {
    "principal_point": _principal_point,
    "field_of_view": _field_of_view,
    "camera_pose_unit": _camera_far_from_base,
    "gravity": _gravity,
    "depth_unit": _depth_unit,
    "no_distances": _no_distances,
    "background_removed": _background,
    "steep_table": _steep_table,
    "table_depth": _table_depth,
    "segmask": _mask,
    "goal": _goal,
    "colour": _colour,
    "region": _region,
}
"""By the kind of what is odd. Each looks at one thing, and most requests pass all."""
