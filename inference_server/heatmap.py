"""A planner's dense map as a picture."""

import numpy as np

from grasp_client.drawing import blend_heatmap, depth_picture
from grasp_client.imaging import encode_png_rgb
from grasp_client.observation import Observation


def overlay_png(observation: Observation, maps: np.ndarray) -> bytes:
    """PNG of the best quality over all angles, (angles, H, W), laid over the colour or the depth image."""
    if observation.rgb is not None:
        picture = observation.rgb
    else:
        assert observation.depth is not None  # an observation has one of them
        picture = depth_picture(observation.depth)
    return encode_png_rgb(blend_heatmap(picture, maps.max(axis=0)))
