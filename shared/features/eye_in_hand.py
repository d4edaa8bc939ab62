"""Small pictures of a camera on the hand, as policies see them: the simulator, the learner and the server make them alike."""

from typing import Literal, get_args

import numpy as np

View = Literal["depth", "rgb", "grey"]
"""What a policy sees: distance, colours, or brightness."""
VIEWS: tuple[View, ...] = get_args(View)
SIDE = 64
"""Pixels along a side of a picture."""
DEPTH_SPAN = 0.5
"""m: what is farther looks as far as this. 2 mm a step; a hand's own objects are nearer."""
GREY = np.array([0.2989, 0.587, 0.114])
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


def channels(view: View) -> int:
    return 3 if view == "rgb" else 1


def picture(view: View, depth: np.ndarray | None, rgb: np.ndarray | None) -> np.ndarray:
    """(channels, H, W) uint8 of depth (H, W), m, 0 where there is no reading, or of colours (H, W, 3) uint8.

    Raises ValueError when what the view shows is missing.
    """
    image = depth if view == "depth" else rgb
    if image is None:
        raise ValueError(f"a policy that sees {view} needs a picture with {'depth' if view == 'depth' else 'colours'}")
    if view == "depth":
        # Nothing read looks as far away as can be: a hole is no obstacle.
        metres = np.where(image > 0, image, DEPTH_SPAN)
        return np.rint(np.clip(metres / DEPTH_SPAN, 0, 1) * 255).astype(np.uint8)[None]
    if view == "grey":
        brightness: np.ndarray = np.rint(image @ GREY).astype(np.uint8)
        return brightness[None]
    return np.ascontiguousarray(image.transpose(2, 0, 1))
