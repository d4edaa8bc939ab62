"""What looks odd about a cloud and its options, told in words before anybody trusts the answer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from grasp_client.contract import PlanRequest
from grasp_client.geometry import invert, transform
from grasp_client.observation import Observation
from planning.clouds.view import IN_FRONT, CloudView, alone, thinned

FARTHEST, NEAREST = 3.5, 0.08
"""m: medians of distances from a viewpoint at which cameras over a table, bin or shelf are used."""
WIDEST = 5.0
"""m. Wider clouds are of buildings, or of numbers in other units."""
FLAT = 0.002
"""m. A cloud that is thinner than this shows a plane alone."""
REPEATED = 0.3
"""Share of points that are there more than once."""
BEHIND = 0.02
"""Share of points that lie behind the camera."""
BESIDE = 0.1
"""Farther than this outside of the scene's box an object is in another frame, m."""

NO_VIEWPOINT = (
    "no_viewpoint: it is not told from where the points were seen, so that what is hidden behind them, or was never seen, "
    "counts as free: tell `viewpoint`, [0, 0, 0] for points in the camera's own frame"
)
NO_HEATMAP = "no_heatmap: a cloud has no picture, so there is no heatmap_png"
NO_SURROUNDINGS = (
    "no_surroundings: the points are of an object alone; what lies around and under it counts as free, but for level ground at "
    "its lowest point: send the table and its neighbours in the part `scene_points`"
)


@dataclass(frozen=True)
class _Look:
    """What the checks look at."""

    observation: Observation
    request: PlanRequest
    view: CloudView

    @cached_property
    def points(self) -> np.ndarray:
        """Some of the points (N, 3)."""
        assert self.observation.points is not None
        return thinned(self.observation.points)

    @cached_property
    def distance(self) -> np.ndarray:
        """(N,) along the optical axis of the view, m."""
        distance: np.ndarray = transform(invert(self.view.pose), self.points)[:, 2]
        return distance


def cloud_warnings(observation: Observation, request: PlanRequest, view: CloudView) -> list[str]:
    """Warnings `kind: text` about a cloud, [] where nothing is odd or `checks` is off."""
    if request.checks == "off" or observation.points is None:
        return []
    told = [NO_VIEWPOINT] if request.viewpoint is None and request.camera is None else []
    if observation.scene_points is None and alone(observation.points, view):
        told.append(NO_SURROUNDINGS)
    if request.return_heatmap:
        told.append(NO_HEATMAP)
    look = _Look(observation, request, view)
    return [*told, *(f"{kind}: {text}" for kind, check in CLOUD_CHECKS.items() if (text := check(look)))]


def _unit(look: _Look) -> str | None:
    extent = float(np.ptp(look.points, axis=0).max())
    if extent > WIDEST:
        return f"the cloud is {extent:.3g} m wide: expected metres, are these millimetres or another unit?"
    median = float(np.median(look.distance))
    if look.request.viewpoint is None or NEAREST <= median <= FARTHEST:
        return None
    return (
        f"the points lie {median:.3g} m from the viewpoint, where hardly any arm reaches: expected both in metres and in one "
        "frame; is the viewpoint in the robot's base frame, and are the points in the camera's?"
    )


def _behind(look: _Look) -> str | None:
    share = float((look.distance < IN_FRONT).mean())
    if share <= BEHIND:
        return None
    return f"{share:.0%} of the points lie behind the viewpoint, and were left out: is it where the camera stood, m?"


def _repeated(look: _Look) -> str | None:
    share = 1 - len(np.unique(look.points, axis=0)) / len(look.points)
    if share <= REPEATED:
        return None
    return f"{share:.0%} of the points are there more than once: was an image without readings made into a cloud?"


def _flat(look: _Look) -> str | None:
    if look.observation.scene_points is not None:
        return None
    spread = np.linalg.eigvalsh(np.cov(look.points.T.astype(float)))
    if 4 * np.sqrt(max(spread[0], 0.0)) > FLAT:
        return None
    return "all points lie on one plane: expected an object, which has sides. Is it the table, or a picture without distances?"


def _apart(look: _Look) -> str | None:
    scene = look.observation.scene_points
    if scene is None or not len(scene):
        return None
    low, high = thinned(scene).min(0) - BESIDE, thinned(scene).max(0) + BESIDE
    middle = np.median(look.points, axis=0)
    if ((middle >= low) & (middle <= high)).all():
        return None
    return "the points lie outside of scene_points: expected both in one frame, m"


CLOUD_CHECKS: dict[str, Callable[[_Look], str | None]] = {
    "cloud_unit": _unit,
    "cloud_behind": _behind,
    "cloud_repeated": _repeated,
    "cloud_flat": _flat,
    "cloud_apart": _apart,
}
"""By the kind of what is odd."""
