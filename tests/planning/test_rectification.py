"""Intrinsics of another size and lens distortion: the same grasps as through a plain camera, in the pixels that were sent."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from table_scenes import SLIM_HAND, Box, camera, render

from grasp_client.contract import CameraIntrinsics, FailedGrasp, Grasp, PlanRequest, RefusedGrasp
from grasp_client.observation import Observation
from planning.base import PlannerError
from planning.local import local_planner
from planning.rectification import in_sent_pixels, map_in_sent_pixels, rectify

VIEW = camera(240, 320, 300.0, tilt=0.2)
DEPTH = render(VIEW, [Box(0.03, -0.02, 0.4, 0.10, 0.04, 0.05)])
ASIDE = render(VIEW, [Box(0.16, -0.11, 0.4, 0.10, 0.04, 0.05)])
"""What lies far off the optical axis is where a lens bends most."""
LENS = [0.12, -0.08, 0.002, -0.001, 0.01]
PLAIN = VIEW.intrinsics
BENT = PLAIN.model_copy(update={"distortion": LENS})


def bend(image: np.ndarray, how: int = cv2.INTER_NEAREST) -> np.ndarray:
    """The image as the lens shows it."""
    rows, columns = image.shape[:2]
    u, v = np.meshgrid(np.arange(columns, dtype=float), np.arange(rows, dtype=float))
    matrix = np.array([[PLAIN.fx, 0, PLAIN.cx], [0, PLAIN.fy, PLAIN.cy], [0, 0, 1]])
    straight = cv2.undistortPoints(np.stack([u, v], -1).reshape(-1, 1, 2), matrix, np.array(LENS), P=matrix)
    places = straight.reshape(rows, columns, 2).astype(np.float32)
    result: np.ndarray = cv2.remap(image, places[..., 0], places[..., 1], how, borderMode=cv2.BORDER_REPLICATE)
    return result


def request(intrinsics: CameraIntrinsics, **options) -> PlanRequest:
    return PlanRequest(camera=intrinsics, camera_pose=VIEW.pose.tolist(), gripper=SLIM_HAND, **options)


def grasp(pixel: list[float]) -> Grasp:
    return Grasp(kind="parallel_jaw", quality=0.5, center_px=pixel, angle=0.0)


def test_a_plain_camera_changes_nothing():
    item = Observation(DEPTH), request(PLAIN)
    assert rectify(item) is item
    sized = PLAIN.model_copy(update={"width": 320, "height": 240})
    observation, options = rectify((item[0], request(sized)))
    assert observation is item[0]
    assert options.camera == PLAIN


def test_intrinsics_of_a_larger_image_give_the_same_grasps():
    larger = CameraIntrinsics(fx=600, fy=600, cx=319.5, cy=239.5, width=640, height=480)
    planner = local_planner("antipodal")
    assert planner.plan(Observation(DEPTH), request(larger)).grasps == planner.plan(Observation(DEPTH), request(PLAIN)).grasps


def test_intrinsics_of_another_shape_are_422():
    wide = PLAIN.model_copy(update={"width": 1280, "height": 720})
    with pytest.raises(PlannerError, match="1280 x 720") as refused:
        rectify((Observation(DEPTH), request(wide)))
    assert (refused.value.status, refused.value.code) == (422, "camera_size")


def test_distortion_is_undone_and_the_reply_is_in_sent_pixels():
    planner = local_planner("antipodal")
    straight = planner.plan(Observation(ASIDE), request(PLAIN)).grasps[0]
    bent = planner.plan(Observation(bend(ASIDE)), request(BENT)).grasps[0]
    ignored = planner.plan(Observation(bend(ASIDE)), request(PLAIN)).grasps[0]
    place, undone, left = (np.array(each.pose_base)[:3, 3] for each in (straight, bent, ignored))
    across = np.array(straight.pose_base)[:3, 0]  # the sides are what a grasp is centred between; along them it may slide
    assert abs((undone - place) @ across) < 0.001
    assert abs((left - place) @ across) > 0.001
    # The pixel that is told shows the same place in the image that was sent.
    markers = np.zeros(ASIDE.shape, np.float32)
    u, v = np.rint(straight.center_px).astype(int)
    markers[v - 1 : v + 2, u - 1 : u + 2] = 1
    rows, columns = np.nonzero(bend(markers) > 0)
    assert np.hypot(columns.mean() - bent.center_px[0], rows.mean() - bent.center_px[1]) < 6


def test_pixels_go_there_and_back():
    pixels = [[20.0, 30.0], [160.0, 120.0], [300.0, 200.0]]
    failed = [FailedGrasp(center_px=pixel) for pixel in pixels]
    sent = Observation(DEPTH), request(BENT, failed=failed)
    _, options = rectify(sent)
    moved = [each.center_px for each in options.failed]
    assert np.abs(np.array(moved) - pixels).max() > 1
    plan = local_planner("antipodal").plan(Observation(DEPTH), request(PLAIN))
    back = in_sent_pixels(plan.model_copy(update={"grasps": [grasp(pixel) for pixel in moved if pixel]}), sent)
    np.testing.assert_allclose([each.center_px for each in back.grasps], pixels, atol=0.05)
    refused = RefusedGrasp(**dict(grasp(moved[0])), reason="collision", part="palm", obstacle_px=moved[2])
    [told] = in_sent_pixels(plan.model_copy(update={"grasps": [], "refused": [refused]}), sent).refused or []
    np.testing.assert_allclose([told.center_px, told.obstacle_px], [pixels[0], pixels[2]], atol=0.05)


def test_region_mask_and_colour_move_with_the_depth():
    mask = DEPTH.max() - 0.05 > DEPTH
    rgb = np.repeat((255 * mask)[:, :, None], 3, axis=2).astype(np.uint8)
    sent = Observation(bend(DEPTH), bend(rgb), bend(mask.astype(np.uint8)) > 0), request(BENT, region=[100, 60, 200, 180])
    observation, options = rectify(sent)
    assert observation.segmask is not None
    assert observation.rgb is not None
    inner = (slice(30, -30), slice(30, -30))
    assert (observation.segmask == mask)[inner].mean() > 0.98
    assert ((observation.rgb[..., 0] > 127) == mask)[inner].mean() > 0.98
    assert options.camera == PLAIN
    assert options.region != [100, 60, 200, 180]


def test_a_dense_map_comes_back_in_sent_pixels():
    straight = np.stack([DEPTH, 2 * DEPTH])
    sent = Observation(DEPTH), request(BENT)
    np.testing.assert_allclose(map_in_sent_pixels(straight, sent)[0], bend(DEPTH, cv2.INTER_LINEAR), atol=0.05)
