"""Whatever the bytes, only ImageError; whatever the image, what was encoded is what is decoded."""

import io

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from properties import examples

from grasp_client.imaging import (
    ImageError,
    ImageLimits,
    decode_depth,
    decode_image,
    decode_raw_depth,
    decode_rgb,
    decode_segmask,
    encode_npy,
    encode_png_depth,
    encode_png_rgb,
    encode_raw_depth,
)

LIMITS = ImageLimits(max_pixels=10_000)
MAGIC = (
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"\x93NUMPY\x01\x00",
    b"\x93NUMPY\x02\x00",
    b"\x93NUMPY\x03\x00",
    b"II*\x00",
    b"P5\n",
    b"PK\x03\x04",
)
MEDIA_TYPES = st.sampled_from([None, "application/octet-stream", "image/png", "image/jpeg", "application/x-npy"])
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)
FEW = examples(60)


def decode_all(data: bytes, media_type: str | None) -> None:
    for decode in (decode_depth, decode_rgb, decode_segmask, decode_image):
        refused = None
        try:
            decode(data, media_type, limits=LIMITS)
        except ImageError as error:
            refused = error
        assert refused is None or (refused.status in (400, 413, 415, 422) and refused.code and len(refused.message) < 500)


def valid_files() -> list[bytes]:
    noise = np.random.default_rng(0)
    files = [encode_npy(noise.random((6, 7), np.float32)), encode_png_depth(noise.random((6, 7)) + 0.5)]
    for form, mode in (
        ("PNG", "RGB"),
        ("PNG", "P"),
        ("PNG", "LA"),
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("JPEG", "L"),
        ("TIFF", "RGB"),
        ("TIFF", "I;16"),
        ("PPM", "RGB"),
    ):
        stream = io.BytesIO()
        Image.fromarray(noise.integers(0, 255, (6, 7, 3), np.uint8)).convert(mode).save(stream, form)
        files.append(stream.getvalue())
    return files


@FEW
@given(st.sampled_from(MAGIC), st.binary(max_size=300), MEDIA_TYPES)
def test_random_bytes_raise_only_image_errors(magic, data, media_type):
    decode_all(magic + data, media_type)


@FEW
@given(st.text(max_size=60), MEDIA_TYPES)
@example("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4)}", None)
@example("{'descr': '<f4', 'fortran_order': False, 'shape': (True, True)}", None)
@example("{'descr': ('<f4', (9999, 9999, 9999)), 'fortran_order': False, 'shape': (3, 4)}", None)
@example("{'descr': 7, 'fortran_order': None, 'shape': 'x'}", None)
@example("-" * 9000 + "1", None)
@example("(" * 9000, None)
@example("{" * 150, None)
@example("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ", 4)}", None)
@example("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 4000 + ", " + "9" * 4000 + ")}", None)
def test_random_npy_headers_raise_only_image_errors(header, media_type):
    text = header.encode()
    decode_all(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(48), media_type)


@examples(150)
@given(st.sampled_from(valid_files()), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8), st.floats(0, 1))
def test_damaged_files_raise_only_image_errors(data, changes, kept):
    damaged = bytearray(data)
    for where, value in changes:
        damaged[int(where * (len(damaged) - 1))] = value
    decode_all(bytes(damaged[: round(kept * len(damaged))]), None)


@FEW
@given(st.binary(max_size=64), st.none() | st.text(max_size=12), st.none() | st.text(max_size=12), st.floats(1e-9, 1))
def test_random_raw_headers_raise_only_image_errors(body, shape, dtype, scale):
    with pytest.raises(ImageError):
        decode_raw_depth(body, shape, dtype, scale, LIMITS)


@FEW
@given(hnp.arrays(np.uint16, SHAPES, elements=st.integers(0, 65534)), st.sampled_from([0.001, 0.0001, 0.00025, 1e-5, 1.0]))
def test_integer_depth_survives_every_transport(units, scale):
    metres = (units * scale).astype(np.float32)
    np.testing.assert_array_equal(decode_depth(encode_png_depth(metres, scale), "image/png", scale), metres)
    np.testing.assert_array_equal(decode_depth(encode_npy(units), None, scale), metres)
    body, dtype = encode_raw_depth(metres, scale)
    assert dtype == "uint16"
    np.testing.assert_array_equal(decode_raw_depth(body, "{},{}".format(*metres.shape), dtype, scale), metres)


@FEW
@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(0, 2.0**100, width=32)))
def test_float_depth_survives_every_transport(metres):
    np.testing.assert_array_equal(decode_depth(encode_npy(metres), "application/x-npy"), metres)
    body, dtype = encode_raw_depth(metres)
    np.testing.assert_array_equal(decode_raw_depth(body, "{},{}".format(*metres.shape), dtype), metres)


@FEW
@given(hnp.arrays(hnp.floating_dtypes(sizes=(32, 64)), SHAPES))
def test_decoded_depth_is_never_negative_nor_infinite(values):
    with np.errstate(over="ignore"):
        metres = values.astype(np.float32)
    assume(((metres > 0) & (metres < np.inf)).any() or not (metres < 0).any())  # else it is refused, with the reason
    decoded = decode_depth(encode_npy(values))
    assert np.isfinite(decoded).all()
    assert (decoded >= 0).all()


@FEW
@given(SHAPES.flatmap(lambda shape: hnp.arrays(np.uint8, (*shape, 3))))
def test_colour_survives_png_and_npy(rgb):
    np.testing.assert_array_equal(decode_rgb(encode_png_rgb(rgb)), rgb)
    np.testing.assert_array_equal(decode_image(encode_npy(rgb))[1], rgb)
