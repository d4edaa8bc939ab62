import cv2
import numpy as np
import pytest

from grasp_client.contract import CameraIntrinsics
from shared.features.rgb_input import RAY_SCALE, factor_to, fit, rays

CAMERA = CameraIntrinsics(fx=420.0, fy=420.0, cx=119.5, cy=99.5)


def test_pixels_of_a_resized_picture_stay_where_they_are():
    image = np.zeros((200, 240, 3), np.uint8)
    image[100:110, 60:70] = 255
    picture = fit(image, 0.8)
    assert picture.image.shape == (160, 192, 3)
    [(u, v)] = picture.to_picture(np.array([[64.5, 104.5]]))
    assert picture.image[round(v), round(u)].min() == 255
    assert picture.to_sent(np.array([[u, v]]))[0] == pytest.approx([64.5, 104.5])


def test_sides_become_multiples_of_sixteen_by_repeating_the_rim():
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3)).astype(np.uint8)
    picture = fit(image, 1.0)
    assert picture.image.shape == (64, 80, 3)
    assert picture.size == (50, 70)
    np.testing.assert_array_equal(picture.image[:50, :70], image)
    np.testing.assert_array_equal(picture.image[60, :70], image[-1])


def test_a_metre_of_table_takes_the_same_pixels_whatever_the_camera():
    assert factor_to((200, 240), 96, 480, CAMERA, 0.7) == pytest.approx(0.8)
    assert factor_to((200, 240), 96, 480, CAMERA, 1.4) == pytest.approx(1.6)
    for unknown in ((None, CAMERA, 0.7), (480, None, 0.7), (480, CAMERA, None)):
        assert factor_to((200, 240), 96, *unknown) == pytest.approx(96 / 200)
    assert max(fit(np.zeros((200, 240, 3), np.uint8), 50.0).image.shape) == 1024


def test_a_picture_of_many_pixels_is_looked_at_in_some_of_them_and_stays_where_it_is():
    v, u = np.mgrid[:1600, :2400].astype(np.float32)
    smooth = np.clip(128 + 60 * np.sin(u / 300) + 60 * np.cos(v / 250), 0, 255).astype(np.uint8)
    whole = cv2.resize(smooth, (150, 100), interpolation=cv2.INTER_AREA)
    some = fit(smooth, 100 / 1600).image[:100, :150]
    assert np.abs(some.astype(int) - whole).max() <= 2
    ordinary = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    assert (fit(ordinary, 0.25).image[:120, :160] == cv2.resize(ordinary, (160, 120), interpolation=cv2.INTER_AREA)).all()


def test_rays_point_where_pixels_look():
    picture = fit(np.zeros((200, 240, 3), np.uint8), 0.5)
    found = rays(picture.image.shape[:2], *picture.lens(CAMERA, None))
    assert found.shape == (1, 2, 112, 128)
    [(u, v)] = picture.to_sent(np.array([[100, 20]]))
    assert found[0, :, 20, 100] / RAY_SCALE == pytest.approx([(u - CAMERA.cx) / 420, (v - CAMERA.cy) / 420])
    guessed = rays(picture.image.shape[:2], *picture.lens(None, 210.0))
    np.testing.assert_allclose(guessed, found, atol=1e-6)
