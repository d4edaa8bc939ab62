"""Where a wide open hand fits, on a drawn depth image: a bar on a table below a camera that looks straight down."""

import math

import numpy as np
import pytest

from grasp_client.contract import CameraIntrinsics, Gripper
from grasp_client.geometry import look_at
from shared.maps.open_hand import AROUND, fits

CAMERA = CameraIntrinsics(fx=420.0, fy=420.0, cx=119.5, cy=119.5)
POSE = look_at(np.array([0.0, 0.0, 0.7]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
ANGLES = [k * math.pi / 16 for k in range(16)]
HEIGHTS = [0.01, 0.035, 0.06]
CELLS = np.stack(np.meshgrid(np.arange(60) * 4 + 1.5, np.arange(60) * 4 + 1.5), -1)


def bar(width, length, top):
    """Depth of a bar in the middle, `width` m along u, `length` along v, `top` m high."""
    depth = np.full((240, 240), 0.7, np.float32)
    rows, columns = np.mgrid[:240, :240]
    near = 0.7 - top
    on = (np.abs(columns - 119.5) * near / 420 < width / 2) & (np.abs(rows - 119.5) * near / 420 < length / 2)
    depth[on] = near
    return depth


def fit(depth):
    """(heights, angles, h, w): all, some or none of the neighbours fit."""
    return fits(depth, CAMERA, POSE, Gripper(), ANGLES, HEIGHTS, CELLS).reshape(3, 16, 60, 60)


def test_a_hand_fits_across_a_bar_and_not_along_it():
    found = fit(bar(0.03, 0.16, 0.03))
    assert found.max() == found[0, 0, 30, 30] == AROUND
    assert not found[0, 8, 30, 30]  # the fingers would land on the bar
    assert not found[1:, :, 30, 30].any()  # the tips close above it
    assert not found[:, :, 5, 5].any()  # nothing is there
    across = np.flatnonzero(found[0, 0, 30] > AROUND / 2) * 4 + 1.5
    # The bar has 0.03 m between jaws of 0.08 m: 0.025 m to either side, less the margins of the cells.
    assert across.max() - across.min() == pytest.approx(2 * 0.025 * 420 / 0.69, abs=12)


def test_what_is_higher_than_the_fingers_are_long_meets_the_palm():
    found = fit(bar(0.03, 0.05, 0.075))
    assert not found[0, :, 30, 30].any()
    assert found[1, 0, 30, 30] == AROUND
    assert found[2, 0, 30, 30] == AROUND


def test_the_noise_of_the_table_does_not_lift_the_lowest_tips():
    depth = bar(0.03, 0.16, 0.02) - np.random.default_rng(0).uniform(0, 0.0035, (240, 240)).astype(np.float32)
    assert fits(depth, CAMERA, POSE, Gripper(), ANGLES, [0.004], CELLS)[0, 30, 30] == AROUND


def test_what_is_higher_than_the_pads_meets_the_fingers_above():
    """A wall 20 mm beside the open jaw, clear of pads 10 mm thick and not of fingers twice as thick that begin 20 mm up."""
    sizes = {"finger_width": 0.021, "finger_depth": 0.06, "pad_thickness": 0.01, "pad_depth": 0.02}
    u = np.arange(240)
    found = []
    for top, thickness in ((0.05, 0.03), (0.05, 0.012), (0.02, 0.03)):
        depth = bar(0.03, 0.16, 0.03)
        depth[:, np.abs((u - 119.5) * (0.7 - top) / 420 - 0.06) < 0.005] = 0.7 - top
        hand = Gripper(finger_thickness=thickness, **sizes)
        found.append(int(fits(depth, CAMERA, POSE, hand, ANGLES, HEIGHTS, CELLS).reshape(3, 16, 60, 60)[0, 0, 30, 30]))
    assert found[0] == 0
    assert found[1] > 0
    assert found[2] > 0


def test_too_wide_is_too_wide():
    assert not fit(bar(0.1, 0.1, 0.03))[:, :, 30, 30].any()
    assert fit(np.full((240, 240), 0.7, np.float32)).sum() == 0
