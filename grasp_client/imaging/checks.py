"""Checks of decoded images that look at what the pixels mean."""

from collections.abc import Sequence

import numpy as np

from grasp_client.contract import RegisteredView
from grasp_client.imaging.clouds import check_cloud
from grasp_client.imaging.limits import ImageError
from grasp_client.observation import Observation

FARTHEST_MEDIAN = 20.0
"""Metres. Beyond it no arm reaches, and depth in millimetres begins (a camera 5 cm away would read 50)."""
NEAREST_MEDIAN = 0.01
"""Metres. Below it no depth camera measures; whole metres read with a scale of 0.001 lie here."""
_MEDIAN_SAMPLE = 2_000
IMAGES = ("depth", "rgb", "segmask", "goal")


def check_depth(depth: np.ndarray) -> None:
    """`depth`: (H, W) float32 metres, 0 = no reading. Raises ImageError 422 for no reading at all or plainly the wrong unit."""
    sample = depth.reshape(-1)[:: max(1, depth.size // _MEDIAN_SAMPLE)]
    readings = sample[sample > 0]
    if not readings.size:
        readings = depth[depth > 0]
    if not readings.size:
        raise ImageError(
            422,
            "no_depth",
            "the depth image has no reading: every pixel is 0, NaN, infinite, negative or 65535: is the camera covered?",
        )
    if readings.min() >= NEAREST_MEDIAN and readings.max() <= FARTHEST_MEDIAN:
        return  # so does the median, which takes longer to find
    median = float(np.median(readings))
    if median > FARTHEST_MEDIAN:
        raise ImageError(
            422,
            "wrong_unit",
            f"the median depth is {median:.4g} m, which no arm reaches: are these millimetres? Send float depth in metres, "
            "or integer depth with `depth_scale` set to the metres per unit",
        )
    if median < NEAREST_MEDIAN:
        raise ImageError(
            422,
            "wrong_unit",
            f"the median depth is {median:.4g} m, nearer than any depth camera measures: send float depth in metres, "
            "or integer depth with `depth_scale` set to the metres per unit (1 if the integers are metres)",
        )


def check_views(count: int, views: Sequence[RegisteredView] | None) -> None:
    """Raises ImageError 422 when there are not as many depth images, depth_0 and on, as `views` tell of."""
    expected = len(views or ())
    if count != expected:
        told = (
            f"`views` tell of {expected}" if expected else "`views` do not tell where each was taken, [{camera, camera_pose}]"
        )
        raise ImageError(422, "views_mismatch", f"{count} depth images depth_0, depth_1, ... came, and {told}")


def check_observation(
    observation: Observation, region: Sequence[float] | None = None, point: Sequence[float] | None = None
) -> None:
    """Raises ImageError 422 when there is no image, the depth is unusable, the images differ in size, the `region` of
    pixels [u0, v0, u1, v1] or the `point` [u, v] lies outside of them, or a point comes with a goal; of a cloud, what
    `check_cloud` raises."""
    if observation.points is not None or observation.scene_points is not None:
        check_cloud(observation)
        return
    images = {name: image for name in IMAGES if (image := getattr(observation, name)) is not None}
    if "depth" not in images and "rgb" not in images:
        raise ImageError(422, "no_image", "no image was sent: at least one of `depth` and `rgb` is needed, or `points`")
    height, width = images["depth" if "depth" in images else "rgb"].shape[:2]
    for name, image in images.items():
        if image.shape[:2] != (height, width):
            raise ImageError(
                422,
                "size_mismatch",
                f"{name} is {image.shape[1]} x {image.shape[0]} pixels but the observation is {width} x {height}: "
                "all images must be registered to the same pixels",
            )
    if observation.depth is not None:
        check_depth(observation.depth)
    if region is not None and (region[2] < 0 or region[3] < 0 or region[0] > width - 1 or region[1] > height - 1):
        raise ImageError(
            422,
            "region_outside",
            f"region {list(region)} lies outside the image, which is {width} x {height} pixels (u, v from 0)",
        )
    if point is not None and not (-0.5 <= point[0] < width - 0.5 and -0.5 <= point[1] < height - 0.5):
        raise ImageError(
            422,
            "point_outside",
            f"point {list(point)} lies outside the image, which is {width} x {height} pixels (u, v from 0)",
        )
    if point is not None and observation.goal is not None:
        raise ImageError(422, "goal_twice", "expected the goal's mask, `goal`, or a pixel of it, `point`, got both")
