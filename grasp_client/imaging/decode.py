"""Bytes from the wire to arrays: depth in metres, colour, segmask. Every function raises only ImageError."""

from typing import Literal

import numpy as np
from PIL import Image

from grasp_client.imaging.containers import container_of, npy_in_npz, open_picture, pgm_units, pixels_of, read_npy_image
from grasp_client.imaging.limits import DEFAULT_LIMITS, ImageError, ImageLimits

SIXTEEN_BIT = ("I;16", "I;16B", "I")
"""Pillow's modes of a 16-bit grey picture, over its versions."""
GREY = ("1", "L", "LA")
NO_READING = 65535
"""Of a uint16 depth image: cameras and converters write the largest number where they measured nothing."""
DEPTH_NAMES = ("depth", "depth_image", "depths", "arr_0")
RGB_NAMES = ("rgb", "color", "colour", "image", "arr_0")
MASK_NAMES = ("segmask", "goal", "mask", "segmap", "seg", "arr_0")
"""Of the array that is taken from an npz with several."""

_RAW_DTYPES: dict[str, np.dtype] = {"uint16": np.dtype("<u2"), "float32": np.dtype("<f4")}
_DEPTH_FORMATS = (
    "a 16-bit grey PNG, TIFF or PGM, or npy of integers of 16 bits or more, or floats, of shape (H, W) or (H, W, 1)"
)


def decode_depth(
    data: bytes, media_type: str | None = None, depth_scale: float = 0.001, limits: ImageLimits = DEFAULT_LIMITS
) -> np.ndarray:
    """(H, W) float32 metres from a 16-bit picture, a float TIFF, npy or npz; `depth_scale`: metres per unit of integers."""
    opened = _opened(data, media_type, DEPTH_NAMES, limits)
    if isinstance(opened, np.ndarray):
        return metres_of(opened, depth_scale)
    return _depth_of_picture(data, opened, depth_scale)


def decode_rgb(data: bytes, media_type: str | None = None, limits: ImageLimits = DEFAULT_LIMITS) -> np.ndarray:
    """(H, W, 3) uint8 from a picture or npy uint8: grey is repeated, alpha dropped, and a picture turned as its EXIF says."""
    opened = _opened(data, media_type, RGB_NAMES, limits)
    if isinstance(opened, np.ndarray):
        return _colour(opened)
    if opened.mode in (*SIXTEEN_BIT, "F"):
        raise ImageError(
            422,
            "wrong_dtype",
            "a 16-bit grey or float picture was sent as rgb: expected 8-bit colour; send a depth image in the part `depth`",
        )
    return pixels_of(opened, "RGB")


def decode_segmask(
    data: bytes, media_type: str | None = None, limits: ImageLimits = DEFAULT_LIMITS, what: str = "segmask"
) -> np.ndarray:
    """A mask (H, W) bool from a PNG (any channel but alpha), npy or npz of (H, W) or (H, W, 1) of any number type.

    Integers are True where non-zero; fractions, as networks give them, from 0.5 on.
    """
    opened = _opened(data, media_type, MASK_NAMES, limits)
    if isinstance(opened, np.ndarray):
        values = _one_channel(opened, what)
        mask: np.ndarray = values >= 0.5 if values.dtype.kind == "f" else values != 0
        return mask
    if opened.format == "JPEG":
        raise ImageError(
            422, "wrong_dtype", f"{what} as JPEG is unusable: compression blurs its edge; send an 8-bit PNG or npy"
        )
    pixels = pixels_of(opened)
    mask = pixels >= 0.5 if pixels.dtype.kind == "f" else pixels != 0
    if opened.mode in ("LA", "RGBA"):
        mask = mask[..., :-1]
    return np.any(mask, axis=-1) if mask.ndim == 3 else mask


def decode_image(
    data: bytes, media_type: str | None = None, depth_scale: float = 0.001, limits: ImageLimits = DEFAULT_LIMITS
) -> tuple[Literal["depth", "rgb"], np.ndarray]:
    """A bare body, where what it is decides: 16-bit and float pictures and one-channel npy are depth, three channels colour."""
    opened = _opened(data, media_type, DEPTH_NAMES, limits)
    if isinstance(opened, np.ndarray):
        coloured = opened.ndim == 3 and opened.shape[2] > 1
        return ("rgb", _colour(opened)) if coloured else ("depth", metres_of(opened, depth_scale))
    if opened.mode in (*SIXTEEN_BIT, "F", *GREY):
        return "depth", _depth_of_picture(data, opened, depth_scale)
    return "rgb", pixels_of(opened, "RGB")


def _opened(data: bytes, media_type: str | None, names: tuple[str, ...], limits: ImageLimits) -> np.ndarray | Image.Image:
    """An array of npy or npz, or a picture of which only the header is read."""
    limits.check_bytes(data)
    container = container_of(data, media_type)
    if container == "npz":
        data, container = npy_in_npz(data, names, limits), "npy"
    return read_npy_image(data, limits) if container == "npy" else open_picture(data, container, limits)


def _depth_of_picture(data: bytes, picture: Image.Image, depth_scale: float) -> np.ndarray:
    if picture.format == "JPEG" or picture.mode not in (*SIXTEEN_BIT, "F"):
        raise _no_depth_picture(picture)
    if picture.mode == "F":
        return metres_of(pixels_of(picture), depth_scale)
    units = pgm_units(data, picture) if picture.format == "PPM" else pixels_of(picture)
    return metres_of(units.astype(np.uint16, copy=False), depth_scale)


def decode_raw_depth(
    body: bytes,
    shape_header: str | None,
    dtype_header: str | None,
    depth_scale: float = 0.001,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> np.ndarray:
    """(H, W) float32 metres from raw little-endian C-order depth, described by the headers X-Shape and X-Dtype.

    Float metres without a NaN, infinite or negative number are not copied: the array is a read-only view of `body`.
    """
    height, width = _raw_shape(shape_header)
    limits.check_raw(body, height, width)
    dtype = _RAW_DTYPES.get((dtype_header or "").strip().lower())
    if dtype is None:
        raise ImageError(422, "wrong_dtype", f"header X-Dtype: expected uint16 or float32, got {_quoted(dtype_header)}")
    expected = height * width * dtype.itemsize
    if len(body) != expected:
        raise ImageError(
            422,
            "wrong_shape",
            f"X-Shape {height},{width} with X-Dtype {dtype.name} needs {expected} bytes, but the body has {len(body)}",
        )
    return metres_of(np.frombuffer(body, dtype).reshape(height, width), depth_scale, copy=False)


def _raw_shape(header: str | None) -> tuple[int, int]:
    parts = [part.strip() for part in (header or "").split(",")]
    if parts[2:] == ["1"]:
        parts = parts[:2]
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ImageError(422, "wrong_shape", f"header X-Shape: expected height,width such as 480,640, got {_quoted(header)}")
    return int(parts[0]), int(parts[1])


def _quoted(header: str | None) -> str:
    return "nothing" if header is None else repr(header[:40])


def metres_of(array: np.ndarray, depth_scale: float, copy: bool = True) -> np.ndarray:
    """(H, W) float32 metres of an array (H, W) or (H, W, 1), however it was sent: integer units, or floats in metres.

    NaN, infinite and negative readings, and 65535 of uint16, become 0. copy: also where nothing has to change.
    """
    array = _one_channel(array, "depth")
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "u" and size == 2:
        return metres_of_units(array, depth_scale)
    if kind not in "iuf" or (kind != "f" and size < 2):
        raise ImageError(422, "wrong_dtype", f"depth of type {array.dtype.name} is not accepted; send {_DEPTH_FORMATS}")
    with np.errstate(over="ignore", invalid="ignore"):
        if kind != "f":
            array = array * np.float64(depth_scale)
        metres: np.ndarray = array.astype(np.float32, order="C", copy=copy)
        if metres.size and (low := metres.min()) >= 0 and metres.max() < np.inf:  # False for NaN too
            return metres
        read = (metres > 0) & (metres < np.inf)
        if not read.any() and low < 0:
            raise ImageError(
                422,
                "negative_depth",
                f"every reading is negative or 0, down to {low:.4g}: expected positive metres along the optical axis. In the "
                "camera frame of OpenGL and Isaac Gym z points backwards: send -depth",
            )
        return np.where(read, metres, np.float32(0))


def metres_of_units(units: np.ndarray, depth_scale: float) -> np.ndarray:
    """uint16 depth to float32 metres, each the float32 nearest to the true product: equal to what dividing by 1000 gives.

    NO_READING becomes 0.
    """
    per_metre = 1.0 / depth_scale
    metres: np.ndarray
    if per_metre.is_integer() and per_metre < 2**24:  # one rounding, and no array of doubles
        metres = np.divide(units, np.float32(per_metre), dtype=np.float32, order="C")
    else:
        metres = np.multiply(units, depth_scale, dtype=np.float64, order="C").astype(np.float32)
    if units.size and units.max() == NO_READING:
        metres[units == NO_READING] = 0
    return metres


def _colour(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8:
        hint = "; multiply 0 to 1 by 255" if array.dtype.kind == "f" else ""
        raise ImageError(422, "wrong_dtype", f"rgb as npy: expected uint8 of shape (H, W, 3), got {array.dtype.name}{hint}")
    grey = array.ndim == 2 or array.shape[2] == 1
    return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2) if grey else np.array(array[:, :, :3], order="C")


def _one_channel(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        return array[:, :, 0]
    if array.ndim != 2:
        hint = "; send colour in the part `rgb`" if name == "depth" else ""
        raise ImageError(422, "wrong_shape", f"{name} must be (H, W) or (H, W, 1), got shape {array.shape}{hint}")
    return array


def _no_depth_picture(picture: Image.Image) -> ImageError:
    if picture.mode in GREY:
        got = f"an 8-bit grey {picture.format} (256 levels are too coarse for depth; as colour it belongs in the part `rgb`)"
    else:
        got = f"a colour {picture.format} ({picture.mode})"
    return ImageError(422, "wrong_dtype", f"got {got}; depth must be {_DEPTH_FORMATS}; colour belongs in the part `rgb`")
