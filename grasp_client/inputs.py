"""Arrays as users have them to an Observation and a PlanRequest."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from grasp_client.contract import ActionRequest, PlanRequest, RegisteredView
from grasp_client.geometry import invert
from grasp_client.imaging import check_observation, check_views, decode_depth, decode_rgb, decode_segmask, encode_npy, points_of
from grasp_client.observation import Observation, View


def observe(
    depth: np.ndarray | None = None,
    rgb: np.ndarray | None = None,
    segmask: np.ndarray | None = None,
    depth_scale: float = 0.001,
    goal: np.ndarray | None = None,
    points: np.ndarray | None = None,
    scene_points: np.ndarray | None = None,
) -> Observation:
    """An observation of registered images, or of a cloud.

    depth: (H, W) or (H, W, 1), float metres (0, NaN and inf: no reading) or uint16 in units of `depth_scale` metres.
    rgb: (H, W, 3) uint8. segmask: (H, W), non-zero where a grasp centre may lie. goal: (H, W),
    non-zero on the one thing that shall be held.
    points, scene_points: (N, 3) or (H, W, 3) float metres, what may be grasped and what surrounds it, in place of images.
    Raises ImageError (a ValueError) with the reason when the server would refuse it.
    """
    # Through the wire format, so that what is accepted, and how, is decided in one place.
    observation = Observation(
        None if depth is None else decode_depth(encode_npy(depth), depth_scale=depth_scale),
        None if rgb is None else decode_rgb(encode_npy(rgb)),
        None if segmask is None else decode_segmask(encode_npy(segmask)),
        None if goal is None else decode_segmask(encode_npy(goal), what="goal"),
        None if points is None else points_of(np.asarray(points)),
        None if scene_points is None else points_of(np.asarray(scene_points)),
    )
    check_observation(observation)
    return observation


def several_views(depths: Sequence[np.ndarray], views: Sequence[RegisteredView], **images: Any) -> Observation:
    """An observation of registered depth images, each as for `observe`, which makes one of the first with its other images.

    Raises ImageError (a ValueError) with the reason when the server would refuse it.
    """
    check_views(len(depths), views)
    first, *others = (observe(depth, **(images if number == 0 else {})) for number, depth in enumerate(depths))
    return replace(first, views=views_of([each.depth for each in others], views))


def views_of(depths: Sequence[np.ndarray | None], views: Sequence[RegisteredView]) -> tuple[View, ...]:
    """The other views than the first, by their depth images in metres and by where all of them were taken."""
    to_first = invert(np.asarray(views[0].camera_pose, dtype=float))
    return tuple(
        View(depth, view.camera, to_first @ np.asarray(view.camera_pose, dtype=float))
        for depth, view in zip(depths, views[1:], strict=True)
        if depth is not None
    )


def request_of(**options: Any) -> PlanRequest:
    """Options of the contract; matrices may be numpy arrays. Raises pydantic.ValidationError (a ValueError)."""
    return PlanRequest(**_plain(options))


def action_request_of(**options: Any) -> ActionRequest:
    """The same for an action."""
    return ActionRequest(**_plain(options))


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in options.items()}
