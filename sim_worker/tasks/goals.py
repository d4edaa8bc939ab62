"""The one thing that is wanted in a scene: which it is, what is seen of it, and whether it is still there."""

import numpy as np

from sim_worker.world import CameraView, Scene

LEAST_PIXELS = 60
"""A goal of which less is seen is hidden: no planner could tell it from its neighbours."""


def goal_mask(view: CameraView, name: str) -> np.ndarray:
    """(H, W) bool: where the thing is seen; nowhere, if it is not in the view."""
    number = view.objects.index(name) + 1 if name in view.objects else -2
    seen: np.ndarray = view.segmentation == number
    return seen


def is_visible(view: CameraView, name: str) -> bool:
    """Whether enough of the thing is seen to ask for it."""
    return int(goal_mask(view, name).sum()) >= LEAST_PIXELS


def goal_of(scene: Scene) -> str | None:
    """Name of the scene's goal: the first thing of an enclosed scene, else one of those that are visible, drawn by the scene's
    seed; None where none is."""
    view = scene.observe()
    visible = [name for name in scene.objects if is_visible(view, name)]
    if scene.spec.kind == "enclosed":
        visible = [name for name in scene.objects[:1] if name in visible]
    return visible[int(scene.spec.random("goal").integers(len(visible)))] if visible else None


def place_of(scene: Scene, name: str) -> np.ndarray | None:
    """(3,) m: centre of mass in the base frame; None for a thing that is gone."""
    return next((np.array(placed.position) for placed in scene.placed if placed.name == name), None)


def is_in_workspace(scene: Scene, name: str) -> bool:
    """Whether the thing's centre of mass lies in the workspace: what has left it is lost."""
    place = place_of(scene, name)
    return place is not None and scene.spec.holds(float(place[0]), float(place[1]))


def neighbours_of(scene: Scene, goal: str) -> list[str]:
    """Other visible things, the nearest to the goal first."""
    view, middle = scene.observe(), place_of(scene, goal)
    assert middle is not None
    away = {p.name: float(np.hypot(*(np.array(p.position) - middle)[:2])) for p in scene.placed if p.name != goal}
    return sorted((name for name in away if is_visible(view, name)), key=away.__getitem__)
