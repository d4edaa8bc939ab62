import math

import numpy as np
import pytest

from grasp_client.contract import CameraIntrinsics, Grasp, Gripper, RefusedGrasp
from grasp_client.drawing import REFUSED, blend_heatmap, depth_picture, draw_grasps

GREY = np.full((60, 80, 3), 128, np.uint8)


def jaw(u: float, v: float, angle: float = 0.0, quality: float = 1.0, **fields) -> Grasp:
    return Grasp(kind="parallel_jaw", quality=quality, center_px=[u, v], angle=angle, **fields)


def touched(picture: np.ndarray, background: np.ndarray = GREY) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that differ from the background."""
    rows, columns = np.nonzero((np.abs(picture.astype(int) - background) > 40).any(axis=-1))
    return rows, columns


def test_near_is_lighter_than_far_and_no_reading_is_black():
    depth = np.repeat(np.linspace(0.5, 1.0, 50, dtype=np.float32)[None], 40, axis=0)
    depth[:5] = 0
    picture = depth_picture(depth).astype(int)
    assert picture[20, 2].sum() > picture[20, 25].sum() > picture[20, 47].sum()
    assert picture[:5].max() < 20


@pytest.mark.parametrize("depth", [np.zeros((3, 4)), np.full((3, 4), 0.7), np.full((1, 1), 0.7), np.full((1, 9), 0.7)])
def test_dull_depth_has_a_picture_too(depth):
    assert depth_picture(depth.astype(np.float32)).shape == (*depth.shape, 3)


def test_a_jaw_lies_along_its_closing_axis():
    rows, columns = touched(draw_grasps(GREY, [jaw(40, 30, width_px=40)]))
    assert np.ptp(columns) > 2 * np.ptp(rows)
    assert abs(columns.mean() - 40) < 1.5
    rows, columns = touched(draw_grasps(GREY, [jaw(40, 30, math.pi / 2, width_px=40)]))
    assert np.ptp(rows) > 2 * np.ptp(columns)
    # From +u towards +v: the upper left and the lower right are touched, the other corners are not.
    diagonal = draw_grasps(np.full((81, 81, 3), 128, np.uint8), [jaw(40, 40, math.pi / 4, width_px=80)])
    rows, columns = touched(diagonal, np.uint8(128))
    assert np.corrcoef(rows, columns)[0, 1] > 0.8


def test_refused_grasps_lie_in_red_under_the_others_with_a_cross_where_they_meet_something():
    refused = RefusedGrasp(**dict(jaw(40, 30, width_px=40)), reason="collision", part="palm", obstacle_px=[60.0, 50.0])
    picture = draw_grasps(GREY, [], refused=[refused]).astype(int)
    assert np.abs(picture[30, 40] - REFUSED).max() < 30
    assert np.abs(picture[50, 60] - REFUSED).max() < 30
    good = draw_grasps(GREY, [jaw(40, 30, width_px=40)], refused=[refused]).astype(int)
    assert good[30, 36][1] > good[30, 36][0]


def test_fingers_and_cup_have_the_grippers_size():
    camera = CameraIntrinsics(fx=500, fy=500, cx=40, cy=30)
    fields = {"depth": 0.5, "width": 0.03, "width_px": 30.0}
    rows, columns = touched(
        draw_grasps(GREY, [jaw(40, 30, **fields)], Gripper(finger_width=0.02, finger_thickness=0.01), camera)
    )
    assert np.ptp(columns) == pytest.approx(50, abs=4), "30 px opening and two fingers of 10 px"
    assert np.isin(np.ptp(rows[columns < 20]), range(18, 26)), "fingers 20 px wide"
    thick = Gripper(finger_width=0.02, finger_thickness=0.02, pad_thickness=0.01, pad_depth=0.02)
    rows, columns = touched(draw_grasps(GREY, [jaw(40, 30, **fields)], thick, camera))
    assert np.ptp(columns) == pytest.approx(70, abs=4), "outlined where they are 20 px thick"
    assert not (rows[columns < 12] == 30).all(), "only outlined"
    cup = Grasp(kind="suction", quality=0.5, center_px=[40, 30], angle=0, depth=0.5)
    rows, columns = touched(draw_grasps(GREY, [cup], Gripper(kind="suction", cup_radius=0.015), camera))
    assert np.ptp(rows) == pytest.approx(30, abs=4)
    assert np.ptp(columns) == pytest.approx(30, abs=4)


def test_good_grasps_are_green_and_lie_on_top():
    red = draw_grasps(GREY, [jaw(40, 30, quality=0.0, width_px=40)])[30, 30].astype(int)
    assert red[0] > red[1]
    both = draw_grasps(GREY, [jaw(40, 30, quality=1.0, width_px=40), jaw(40, 30, quality=0.0, width_px=40)])[30, 30].astype(int)
    assert both[1] > both[0]


def test_zoom_and_missing_fields_and_places_outside():
    picture = draw_grasps(GREY, [jaw(40, 30), jaw(-500, 9000), jaw(79, 59, width_px=1e4)], zoom=3)
    assert picture.shape == (180, 240, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(draw_grasps(GREY, []), GREY)


def test_a_heatmap_covers_where_quality_is_high_only():
    quality = np.zeros((60, 80))
    quality[20:30, 20:30] = 1.0
    quality[40:] = np.nan
    blended = blend_heatmap(GREY, quality).astype(int)
    assert blended[25, 25, 1] > blended[25, 25, 0]
    np.testing.assert_array_equal(blended[0], GREY[0])
    np.testing.assert_array_equal(blended[50], GREY[50])
