"""Bytes from the wire to arrays: depth in metres, colour, segmask. Every function raises only ImageError."""

from __future__ import annotations

from typing import Literal

import numpy as np

from grasp_client.imaging.containers import container_of, open_picture, pixels_of, read_npy_image
from grasp_client.imaging.limits import DEFAULT_LIMITS, ImageError, ImageLimits

SIXTEEN_BIT = ("I;16", "I;16B", "I")
"""Pillow's modes of a 16-bit grey PNG, over its versions."""
GREY = ("1", "L", "LA")

_RAW_DTYPES: dict[str, np.dtype] = {"uint16": np.dtype("<u2"), "float32": np.dtype("<f4")}
_DEPTH_FORMATS = "a 16-bit grey PNG, or npy uint16, float32 or float64 of shape (H, W) or (H, W, 1)"


def decode_depth(
    data: bytes, media_type: str | None = None, depth_scale: float = 0.001, limits: ImageLimits = DEFAULT_LIMITS
) -> np.ndarray:
    """(H, W) float32 metres from a 16-bit PNG or an npy file; `depth_scale` is metres per unit of an integer image."""
    limits.check_bytes(data)
    container = container_of(data, media_type)
    if container == "npy":
        return metres_of(read_npy_image(data, limits), depth_scale)
    picture = open_picture(data, container, limits)
    if container == "jpeg" or picture.mode not in SIXTEEN_BIT:
        raise _no_depth_picture(container, picture.mode)
    return metres_of(pixels_of(picture).astype(np.uint16), depth_scale)


def decode_rgb(data: bytes, media_type: str | None = None, limits: ImageLimits = DEFAULT_LIMITS) -> np.ndarray:
    """(H, W, 3) uint8 from a PNG, a JPEG (grey ones are repeated, alpha is dropped) or npy uint8 (H, W, 3)."""
    limits.check_bytes(data)
    container = container_of(data, media_type)
    if container == "npy":
        return _colour(read_npy_image(data, limits))
    picture = open_picture(data, container, limits)
    if picture.mode in SIXTEEN_BIT:
        raise ImageError(
            422,
            "wrong_dtype",
            "a 16-bit grey PNG was sent as rgb: expected 8-bit colour; send a depth image in the part `depth`",
        )
    return pixels_of(picture, "RGB")


def decode_segmask(data: bytes, media_type: str | None = None, limits: ImageLimits = DEFAULT_LIMITS) -> np.ndarray:
    """(H, W) bool, True where non-zero, from a PNG (any channel but alpha) or npy (H, W) or (H, W, 1) of any number type."""
    limits.check_bytes(data)
    container = container_of(data, media_type)
    if container == "jpeg":
        raise ImageError(
            422, "wrong_dtype", "a segmask as JPEG is unusable: compression blurs its edge; send an 8-bit PNG or npy"
        )
    if container == "npy":
        mask: np.ndarray = _one_channel(read_npy_image(data, limits), "segmask") != 0
        return mask
    picture = open_picture(data, container, limits)
    mask = pixels_of(picture) != 0
    if picture.mode in ("LA", "RGBA"):
        mask = mask[..., :-1]
    return np.any(mask, axis=-1) if mask.ndim == 3 else mask


def decode_image(
    data: bytes, media_type: str | None = None, depth_scale: float = 0.001, limits: ImageLimits = DEFAULT_LIMITS
) -> tuple[Literal["depth", "rgb"], np.ndarray]:
    """A bare body, where what it is decides: 16-bit PNG and one-channel npy are depth, 8-bit three-channel is colour."""
    limits.check_bytes(data)
    container = container_of(data, media_type)
    if container == "npy":
        array = read_npy_image(data, limits)
        return ("rgb", _colour(array)) if array.ndim == 3 and array.shape[2] > 1 else ("depth", metres_of(array, depth_scale))
    picture = open_picture(data, container, limits)
    if picture.mode in SIXTEEN_BIT:
        return "depth", metres_of(pixels_of(picture).astype(np.uint16), depth_scale)
    if picture.mode in GREY:
        raise _no_depth_picture(container, picture.mode)
    return "rgb", pixels_of(picture, "RGB")


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
    """(H, W) float32 metres of an array (H, W) or (H, W, 1), however it was sent: uint16 units, or floats in metres.

    NaN, infinite and negative readings become 0. copy: also where nothing has to change.
    """
    array = _one_channel(array, "depth")
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return metres_of_units(array, depth_scale)
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        raise ImageError(422, "wrong_dtype", f"depth of type {array.dtype.name} is not accepted; send {_DEPTH_FORMATS}")
    with np.errstate(over="ignore", invalid="ignore"):
        metres: np.ndarray = array.astype(np.float32, order="C", copy=copy)
        if metres.size and metres.min() >= 0 and metres.max() < np.inf:  # False for NaN too
            return metres
        metres = np.where((metres > 0) & (metres < np.inf), metres, np.float32(0))
        return metres


def metres_of_units(units: np.ndarray, depth_scale: float) -> np.ndarray:
    """uint16 depth to float32 metres, each the float32 nearest to the true product: equal to what dividing by 1000 gives."""
    per_metre = 1.0 / depth_scale
    metres: np.ndarray
    if per_metre.is_integer() and per_metre < 2**24:  # one rounding, and no array of doubles
        metres = np.divide(units, np.float32(per_metre), dtype=np.float32, order="C")
    else:
        metres = np.multiply(units, depth_scale, dtype=np.float64, order="C").astype(np.float32)
    return metres


def _colour(array: np.ndarray) -> np.ndarray:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ImageError(
            422, "wrong_dtype", f"rgb as npy: expected uint8 of shape (H, W, 3), got {array.dtype.name} of shape {array.shape}"
        )
    return np.array(array, order="C")


def _one_channel(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        return array[:, :, 0]
    if array.ndim != 2:
        hint = "; send colour in the part `rgb`" if name == "depth" else ""
        raise ImageError(422, "wrong_shape", f"{name} must be (H, W) or (H, W, 1), got shape {array.shape}{hint}")
    return array


def _no_depth_picture(container: str, mode: str) -> ImageError:
    if mode in GREY:
        got = f"an 8-bit grey {container.upper()} (256 levels are too coarse for depth)"
    else:
        got = f"a colour {container.upper()} ({mode})"
    return ImageError(422, "wrong_dtype", f"got {got}; depth must be {_DEPTH_FORMATS}; colour belongs in the part `rgb`")
