"""Clouds from the wire: what is read, and what is refused with which hint."""

import io

import numpy as np
import pytest

from grasp_client.imaging import ImageError, decode_points, encode_npy
from grasp_client.inputs import observe

POINTS = np.random.default_rng(0).uniform(-0.1, 0.1, (60, 3)) + np.array([0, 0, 0.6])


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
def test_floats_of_any_size_are_points(dtype: str) -> None:
    found = decode_points(encode_npy(POINTS.astype(dtype)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, POINTS, atol=1e-3)


def test_an_organised_cloud_loses_what_is_not_finite_and_an_npz_is_opened() -> None:
    image = POINTS.reshape(6, 10, 3).copy()
    image[0, 0], image[1, 1, 2] = np.nan, np.inf
    assert decode_points(encode_npy(image)).shape == (58, 3)
    stream = io.BytesIO()
    np.savez(stream, xyz=POINTS, label=np.zeros(60))
    assert decode_points(stream.getvalue()).shape == (60, 3)


@pytest.mark.parametrize(
    ("array", "status", "said"),
    [
        (POINTS.T, 422, "transpose"),
        (np.hstack([POINTS, POINTS]), 422, "first three columns"),
        (POINTS[:, :2], 422, "expected"),
        ((POINTS * 1000).astype(np.uint16), 422, "millimetres"),
        (np.zeros((1_000_001, 3), np.float16), 413, "thin it"),
    ],
)
def test_what_is_no_cloud_is_refused_with_what_to_do(array: np.ndarray, status: int, said: str) -> None:
    with pytest.raises(ImageError, match=said) as refused:
        decode_points(encode_npy(array))
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ({"points": POINTS * 1000}, "millimetres"),
        ({"points": POINTS * 1e-3}, "kilometres"),
        ({"points": np.full((60, 3), np.nan)}, "0 finite points"),
        ({"points": POINTS, "depth": np.ones((4, 4), np.float32)}, "not both"),
        ({"scene_points": POINTS}, "without points"),
    ],
)
def test_what_cannot_be_right_is_refused(images: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(ImageError, match=said):
        observe(**images)
