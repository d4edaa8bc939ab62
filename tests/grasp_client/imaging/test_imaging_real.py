"""Real depth cameras' images through every wire format."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from grasp_client.drawing import depth_picture
from grasp_client.imaging import (
    check_depth,
    decode_depth,
    decode_image,
    decode_raw_depth,
    decode_rgb,
    decode_segmask,
    encode_npy,
    encode_png_depth,
    encode_raw_depth,
)

DATA = Path(os.environ.get("GRASP_TEST_DATA", Path(__file__).parents[4] / "shared/data")) / "real_depth"
SCENES = sorted(DATA.glob("*/*_depth_*.npy"))

pytestmark = pytest.mark.skipif(not SCENES, reason="no real scenes in GRASP_TEST_DATA or ../shared/data")


def beside(scene: Path, what: str) -> bytes:
    return (scene.parent / scene.name.replace("_depth_", f"_{what}_").replace(".npy", ".png")).read_bytes()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"{scene.parent.name}-{scene.stem}")
def test_a_real_scene_survives_every_format(scene):
    data = scene.read_bytes()
    kind, depth = decode_image(data, "application/x-npy")
    assert kind == "depth"
    check_depth(depth)
    assert 0.5 < np.median(depth[depth > 0]) < 1.0

    millimetres = decode_depth(encode_png_depth(depth), "image/png")
    assert np.abs(millimetres - depth).max() <= 0.0005001
    body, dtype = encode_raw_depth(millimetres)
    assert dtype == "uint16"
    np.testing.assert_array_equal(decode_raw_depth(body, "{},{}".format(*depth.shape), dtype), millimetres)
    np.testing.assert_array_equal(decode_depth(encode_npy(depth)), depth)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"{scene.parent.name}-{scene.stem}")
def test_colour_segmask_and_picture_of_a_real_scene(scene):
    depth = decode_depth(scene.read_bytes())
    rgb = decode_rgb(beside(scene, "color"), "image/png")
    jpeg = io.BytesIO()
    Image.fromarray(rgb).save(jpeg, "JPEG", quality=95)
    difference = np.abs(decode_rgb(jpeg.getvalue(), "image/jpeg").astype(int) - rgb)
    assert difference.mean() < 4
    mask = decode_segmask(beside(scene, "segmask"), "image/png")
    assert mask.shape == depth.shape
    assert 0 < mask.mean() < 0.5
    picture = depth_picture(depth)
    assert picture.shape == (*depth.shape, 3)
    assert picture[depth == 0].max(initial=0) < 20
    assert picture[depth > 0].std() > 10
