import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from grasp_client.imaging import (
    ImageError,
    ImageLimits,
    check_depth,
    check_observation,
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
from grasp_client.observation import Observation

DEPTH = (np.arange(12, dtype=np.float32).reshape(3, 4) + 500) / np.float32(1000)
COLOUR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)


def picture(array, form="PNG", **options) -> bytes:
    stream = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(stream, form, **options)
    return stream.getvalue()


def png_header(width: int, height: int, bits: int = 16, colour: int = 0) -> bytes:
    """A valid PNG start that announces a size, with next to no data behind it."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = zlib.compress(b"\0" * 10)
    idat = struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + idat


def npy_header(shape, descr="<f4") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def refusal(call, *arguments, **options) -> ImageError:
    with pytest.raises(ImageError) as caught:
        call(*arguments, **options)
    assert len(caught.value.message) > 30, "a message explains"
    return caught.value


# What is accepted.


def test_a_16_bit_png_is_depth_in_units_of_the_scale():
    units = np.array([[0, 1, 65534]], np.uint16)
    decoded = decode_depth(picture(units), "image/png", depth_scale=0.0001)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, (units * 0.0001).astype(np.float32))


def test_the_largest_integer_is_no_reading():
    units = np.array([[0, 1, 65535]], np.uint16)
    np.testing.assert_array_equal(decode_depth(picture(units)), np.float32([[0, 0.001, 0]]))
    np.testing.assert_array_equal(decode_raw_depth(units.tobytes(), "1,3", "uint16"), np.float32([[0, 0.001, 0]]))


@pytest.mark.parametrize("dtype", ["i2", ">i2", "i4", "u4", "i8", ">u2"])
def test_integers_of_any_type_are_units(dtype):
    units = np.array([[0, 700, 1200]], dtype)
    np.testing.assert_array_equal(decode_depth(encode_npy(units)), np.float32([[0, 0.7, 1.2]]))


def test_half_precision_is_metres():
    np.testing.assert_array_equal(decode_depth(encode_npy(np.array([[0.5, 0.75]], "f2"))), np.float32([[0.5, 0.75]]))


@pytest.mark.parametrize("values", [-DEPTH, (-1000 * DEPTH).astype(np.int16)])
def test_depth_of_which_all_is_negative_is_refused_by_its_cause(values):
    error = refusal(decode_depth, encode_npy(values))
    assert (error.status, error.code) == (422, "negative_depth")
    assert "-depth" in error.message


def test_channels_first_are_read():
    depth, colour = np.tile(DEPTH, (2, 2)), np.tile(COLOUR, (2, 2, 1))
    np.testing.assert_array_equal(decode_depth(encode_npy(depth[None])), depth)
    np.testing.assert_array_equal(decode_rgb(encode_npy(np.moveaxis(colour, 2, 0))), colour)
    np.testing.assert_array_equal(decode_segmask(encode_npy((depth > 0.505)[None])), depth > 0.505)


def test_alpha_and_grey_arrays_are_read_as_colour():
    alpha = np.dstack([COLOUR, np.full(COLOUR.shape[:2], 9, np.uint8)])
    np.testing.assert_array_equal(decode_rgb(encode_npy(alpha)), COLOUR)
    np.testing.assert_array_equal(decode_rgb(encode_npy(COLOUR[:, :, 0])), np.repeat(COLOUR[:, :, :1], 3, axis=2))


@pytest.mark.parametrize("name", ["depth", "whatever"])
def test_the_array_of_an_npz_is_read(name):
    stream = io.BytesIO()
    np.savez_compressed(stream, **{name: DEPTH})
    np.testing.assert_array_equal(decode_depth(stream.getvalue()), DEPTH)


def test_of_several_arrays_the_one_that_is_named_counts():
    stream = io.BytesIO()
    np.savez(stream, K=np.eye(3), depth=DEPTH, rgb=COLOUR)
    np.testing.assert_array_equal(decode_depth(stream.getvalue()), DEPTH)
    np.testing.assert_array_equal(decode_rgb(stream.getvalue()), COLOUR)
    assert "K" in refusal(decode_segmask, stream.getvalue()).message


def test_an_npz_that_unpacks_to_too_much_is_413():
    stream = io.BytesIO()
    np.savez_compressed(stream, depth=np.zeros((600, 600), np.float64))
    assert refusal(lambda data: decode_depth(data, limits=ImageLimits(max_bytes=1_000_000)), stream.getvalue()).status == 413


def test_tiff_and_pgm_hold_depth():
    millimetres = np.rint(1000 * DEPTH).astype(np.uint16)
    rounded = (millimetres / 1000).astype(np.float32)
    np.testing.assert_array_equal(decode_depth(picture(millimetres, "TIFF"), "image/tiff"), rounded)
    np.testing.assert_array_equal(decode_depth(picture(DEPTH.astype(np.float32), "TIFF")), DEPTH)
    np.testing.assert_array_equal(decode_depth(picture(millimetres, "PPM"), "image/x-portable-graymap"), rounded)


@pytest.mark.parametrize("most", [4095, 10_000])
def test_a_pgm_of_another_range_is_not_stretched(most):
    units = np.array([[0, 700, 1200], [1, most, 3000]], ">u2")
    data = b"P5\n# a camera\n3 2\n%d\n" % most + units.tobytes()
    np.testing.assert_array_equal(decode_depth(data), (units / 1000).astype(np.float32))


def test_a_picture_is_turned_as_its_exif_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the picture's right
    stream = io.BytesIO()
    Image.fromarray(COLOUR).save(stream, "PNG", exif=exif)
    np.testing.assert_array_equal(decode_rgb(stream.getvalue()), np.rot90(COLOUR, -1))


def test_fractions_of_a_mask_count_from_one_half():
    fractions = np.float32([[0.0, 0.49], [0.5, 0.99]])
    np.testing.assert_array_equal(decode_segmask(encode_npy(fractions)), [[False, False], [True, True]])


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_float_npy_is_metres_in_any_byte_order(dtype):
    decoded = decode_depth(encode_npy(DEPTH.astype(dtype)), "application/x-npy")
    assert decoded.dtype == np.float32
    assert decoded.dtype.isnative
    np.testing.assert_array_equal(decoded, DEPTH)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_uint16_npy_is_scaled(dtype):
    decoded = decode_depth(encode_npy(np.rint(DEPTH * 1000).astype(dtype)))
    np.testing.assert_allclose(decoded, DEPTH, rtol=1e-6)


def test_one_channel_axis_and_fortran_order_do_not_matter():
    np.testing.assert_array_equal(decode_depth(encode_npy(DEPTH[:, :, None])), DEPTH)
    decoded = decode_depth(encode_npy(np.asfortranarray(DEPTH)))
    np.testing.assert_array_equal(decoded, DEPTH)
    assert decoded.flags.c_contiguous


def test_what_is_no_reading_becomes_zero_and_the_result_can_be_written():
    decoded = decode_depth(encode_npy(np.array([[np.nan, np.inf, -np.inf], [-1, 0, 1e300]])))
    np.testing.assert_array_equal(decoded, np.zeros((2, 3)))
    decoded[0, 0] = 1
    raw = decode_raw_depth(np.full(6, np.nan, "<f4").tobytes(), "2,3", "float32")
    np.testing.assert_array_equal(raw, np.zeros((2, 3)))
    decode_depth(encode_npy(DEPTH))[0, 0] = 1


def test_raw_metres_are_not_copied():
    body = DEPTH.astype("<f4").tobytes()
    raw = decode_raw_depth(body, f"{DEPTH.shape[0]},{DEPTH.shape[1]}", "float32")
    assert np.shares_memory(raw, np.frombuffer(body, np.uint8))
    assert not raw.flags.writeable
    np.testing.assert_array_equal(raw, DEPTH)


def test_colour_comes_from_png_jpeg_and_npy():
    np.testing.assert_array_equal(decode_rgb(encode_png_rgb(COLOUR), "image/png"), COLOUR)
    np.testing.assert_array_equal(decode_rgb(encode_npy(COLOUR)), COLOUR)
    smooth = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    assert np.abs(decode_rgb(picture(smooth, "JPEG"), "image/jpeg").astype(int) - smooth).max() < 5


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_other_8_bit_pngs_become_rgb(mode):
    assert decode_rgb(picture(Image.fromarray(COLOUR).convert(mode))).shape == (3, 4, 3)


def test_segmask_is_non_zero_whatever_holds_it():
    mask = np.array([[0, 1, 255], [0, 0, 7]], np.uint8)
    expected = mask > 0
    colour = np.dstack([mask, mask * 0, mask * 0])
    opaque = np.dstack([colour, np.full_like(mask, 255)])
    pictures = [mask, colour, opaque, mask.astype(np.uint16), np.dstack([mask, np.full_like(mask, 255)]), expected]
    arrays = [mask, expected, mask[:, :, None] / 1.0]
    for data in [*map(picture, pictures), *map(encode_npy, arrays)]:
        np.testing.assert_array_equal(decode_segmask(data), expected)


def test_a_bare_body_is_what_it_holds():
    assert decode_image(encode_png_depth(DEPTH), "image/png")[0] == "depth"
    assert decode_image(encode_npy(DEPTH), "application/x-npy")[0] == "depth"
    assert decode_image(encode_npy(COLOUR), "application/x-npy; v=1")[0] == "rgb"
    assert decode_image(picture(COLOUR), "image/png")[0] == "rgb"
    assert decode_image(picture(COLOUR, "JPEG"), "image/jpeg")[0] == "rgb"


@pytest.mark.parametrize("media_type", [None, "", "application/octet-stream", "IMAGE/PNG", "image/png; charset=binary"])
def test_the_bytes_decide_when_the_media_type_is_general(media_type):
    np.testing.assert_array_equal(decode_depth(encode_png_depth(DEPTH), media_type), DEPTH)


def test_raw_depth():
    units = np.array([[1, 2, 3], [4, 5, 60000]], "<u2")
    np.testing.assert_allclose(decode_raw_depth(units.tobytes(), "2,3", "uint16", 0.0001), units * 0.0001, rtol=1e-6)
    np.testing.assert_array_equal(decode_raw_depth(DEPTH.tobytes(), " 3, 4, 1", "float32"), DEPTH)


# What is refused, with which status.


@pytest.mark.parametrize("decode", [decode_depth, decode_rgb, decode_segmask, decode_image])
def test_no_bytes_text_and_foreign_formats(decode):
    assert refusal(decode, b"").status == 400
    assert refusal(decode, b"hello, robot", "image/png").status == 400
    assert refusal(decode, b"hello, robot").status == 400
    assert refusal(decode, picture(COLOUR, "GIF")).status == 415
    assert refusal(decode, picture(COLOUR, "BMP"), "image/bmp").status == 415
    assert refusal(decode, picture(COLOUR), "application/json").status == 415
    curl = refusal(decode, picture(COLOUR), "application/x-www-form-urlencoded")
    assert curl.status == 415
    assert "-H 'Content-Type: image/png'" in curl.message


def test_the_media_type_must_not_contradict_the_bytes():
    error = refusal(decode_rgb, picture(COLOUR, "JPEG"), "image/png")
    assert (error.status, error.code) == (415, "media_type_mismatch")


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.6, 0.9, 0.97])
def test_cut_off_files_are_400(share):
    noise = np.random.default_rng(0).integers(0, 65535, (64, 64)).astype(np.uint16)
    for data in (picture(noise), encode_npy(noise)):
        assert refusal(decode_depth, data[: int(len(data) * share)]).status == 400
    colour = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    jpeg = picture(colour, "JPEG")
    assert refusal(decode_rgb, jpeg[: int(len(jpeg) * share)]).status == 400


def test_bytes_behind_an_npy_array_are_400():
    assert refusal(decode_depth, encode_npy(DEPTH) + b"x").status == 400


def test_pictures_that_cannot_be_depth_are_422():
    grey = refusal(decode_depth, picture(np.zeros((3, 4), np.uint8)))
    assert (grey.status, "8-bit" in grey.message) == (422, True)
    for data in (picture(COLOUR), picture(COLOUR, "JPEG"), encode_npy(COLOUR), picture(Image.fromarray(COLOUR).convert("P"))):
        error = refusal(decode_depth, data)
        assert (error.status, "`rgb`" in error.message) == (422, True)
    assert refusal(decode_image, picture(np.zeros((3, 4), np.uint8)), "image/png").status == 422


@pytest.mark.parametrize("dtype", ["u1", "i1", "?", "c8", "S3", "M8[s]", "f4,f4"])
def test_other_depth_dtypes_are_422(dtype):
    assert refusal(decode_depth, encode_npy(np.zeros((3, 4), dtype))).code == "wrong_dtype"


def test_pickled_arrays_are_refused_unread():
    stream = io.BytesIO()
    np.save(stream, np.array([[print]], dtype=object), allow_pickle=True)
    assert refusal(decode_depth, stream.getvalue()).status == 422


@pytest.mark.parametrize("shape", [(), (5,), (1, 3, 4), (3, 4, 2), (3, 4, 3), (1, 3, 4, 1), (0, 4), (4, 0)])
def test_other_depth_shapes_are_422(shape):
    assert refusal(decode_depth, encode_npy(np.zeros(shape, np.float32))).code == "wrong_shape"


def test_depth_sent_as_rgb_is_422():
    for data in (encode_png_depth(DEPTH), encode_npy(DEPTH), encode_npy(COLOUR.astype(float))):
        assert refusal(decode_rgb, data).status == 422


def test_a_jpeg_segmask_is_422():
    assert refusal(decode_segmask, picture(COLOUR, "JPEG")).status == 422


@pytest.mark.parametrize("data", [
    png_header(10_000, 10_000), png_header(2**31 - 1, 2**31 - 1), png_header(1, 100_000_000),
    npy_header((10_000, 10_000)), npy_header((10**9, 10**9, 1)), npy_header((1, 10 ** 3000)),
])  # fmt: skip
def test_large_headers_are_413_before_anything_is_decoded(data):
    assert refusal(decode_depth, data).status == 413
    assert refusal(decode_image, data).status == 413
    assert refusal(decode_segmask, data).status == 413


def test_a_large_jpeg_header_is_413():
    data = bytearray(picture(np.zeros((8, 8, 3), np.uint8), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    assert refusal(decode_rgb, bytes(data)).status == 413


def test_limits_are_inclusive():
    limits = ImageLimits(max_pixels=12, max_bytes=len(encode_npy(DEPTH)))
    assert decode_depth(encode_npy(DEPTH), limits=limits).shape == (3, 4)
    assert refusal(decode_depth, encode_npy(DEPTH), limits=ImageLimits(max_pixels=11)).status == 413
    assert refusal(decode_depth, encode_npy(DEPTH), limits=ImageLimits(max_bytes=100)).status == 413
    assert refusal(decode_raw_depth, b"\0" * 24, "3,4", "uint16", limits=ImageLimits(max_pixels=11)).status == 413


@pytest.mark.parametrize(
    ("shape", "dtype", "status"),
    [
        (None, "uint16", 422), ("", "uint16", 422), ("3", "uint16", 422), ("3,4,5", "uint16", 422), ("3,-4", "uint16", 422),
        ("3,4.0", "uint16", 422), ("three,four", "uint16", 422), ("³,4", "uint16", 422), ("0,4", "uint16", 422),
        ("4,4", "uint16", 422),
        ("3,4", None, 422), ("3,4", "float64", 422), ("3,4", "float32", 422), ("10000,10000", "uint16", 413),
    ],
)  # fmt: skip
def test_raw_depth_with_wrong_headers(shape, dtype, status):
    assert refusal(decode_raw_depth, bytes(24), shape, dtype).status == status


def test_raw_depth_says_how_many_bytes_the_shape_needs():
    assert "needs 32 bytes, but the body has 24" in refusal(decode_raw_depth, bytes(24), "4,4", "uint16").message
    assert refusal(decode_raw_depth, b"", "4,4", "uint16").status == 400


# What the pixels mean.


@pytest.mark.parametrize("depth", [np.zeros((3, 4), np.float32), decode_depth(encode_npy(np.full((3, 4), np.nan)))])
def test_depth_without_a_reading(depth):
    error = refusal(check_depth, depth)
    assert (error.status, error.code) == (422, "no_depth")


def test_depth_in_the_wrong_unit():
    far = refusal(check_depth, DEPTH * 1000)
    assert (far.status, far.code) == (422, "wrong_unit")
    assert "millimetres" in far.message
    near = refusal(check_depth, DEPTH / 1000)
    assert (near.status, near.code) == (422, "wrong_unit")


def test_sound_depth_passes_with_few_readings_and_far_background():
    depth = np.zeros((400, 400), np.float32)
    depth[7, 9] = 0.6
    assert check_depth(depth) is None
    depth[:100] = 65.0
    depth[100:] = 0.7
    assert check_depth(depth) is None


def test_images_of_an_observation_share_their_size():
    assert check_observation(Observation(DEPTH, COLOUR, DEPTH > 0)) is None
    assert check_observation(Observation(rgb=COLOUR)) is None
    assert refusal(check_observation, Observation()).status == 422
    assert refusal(check_observation, Observation(DEPTH, COLOUR[:2])).code == "size_mismatch"
    assert refusal(check_observation, Observation(rgb=COLOUR, segmask=DEPTH[:, :2] > 0)).code == "size_mismatch"


# Encoding.


def test_raw_depth_is_uint16_only_when_nothing_is_lost():
    assert encode_raw_depth(DEPTH)[1] == "uint16"
    for changed in (DEPTH + np.float32(1e-5), DEPTH * 1000, -DEPTH, np.full((3, 4), np.nan, np.float32)):
        data, dtype = encode_raw_depth(changed)
        assert dtype == "float32"
        np.testing.assert_array_equal(np.frombuffer(data, "<f4").reshape(3, 4), changed)


def test_what_cannot_be_encoded_is_said():
    with pytest.raises(ValueError, match="holds 0 to"):
        encode_png_depth(np.full((2, 2), 70.0))
    with pytest.raises(ValueError, match="uint8"):
        encode_png_rgb(COLOUR.astype(float))
