"""PNG, JPEG and npy: which of them some bytes are, and their pixels as an array, whatever these mean."""

from __future__ import annotations

import io
import math
from typing import Literal

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin

from grasp_client.imaging.limits import ImageError, ImageLimits
from grasp_client.imaging.structure import check_jpeg, check_png

Container = Literal["png", "jpeg", "npy"]

_MAGIC: dict[bytes, Container] = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"\x93NUMPY": "npy"}
_FOREIGN_MAGIC = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"RIFF": "WebP or another RIFF file",
    b"PK\x03\x04": "zip or npz",
    b"\x1f\x8b": "gzip",
    b"v/1\x01": "OpenEXR",
    b"%PDF": "PDF",
}
_MEDIA_TYPES: dict[str, Container | None] = {
    "": None,
    "application/octet-stream": None,
    "image/png": "png",
    "image/x-png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "application/x-npy": "npy",
    "application/npy": "npy",
    "application/x-numpy": "npy",
}
_ACCEPTED = "PNG (image/png), JPEG (image/jpeg) or npy (application/x-npy)"


def container_of(data: bytes, media_type: str | None) -> Container:
    """What the bytes are, by their first bytes and by what the sender says; the two must not contradict each other.

    Raises ImageError 415 for a media type or a file format that is not accepted, 400 for bytes that are no image.
    """
    declared = _declared(media_type)
    found = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    if found is None:
        raise _no_image(data, declared)
    if declared not in (None, found):
        right = "image/" + found if found != "npy" else "application/x-npy"
        message = f"the media type {media_type!r:.80} does not fit the bytes, which are {found}: send Content-Type {right}"
        raise ImageError(415, "media_type_mismatch", message)
    return found


def _declared(media_type: str | None) -> Container | None:
    name = (media_type or "").split(";")[0].strip().lower()
    if name in _MEDIA_TYPES:
        return _MEDIA_TYPES[name]
    hint = " (curl sends this unless told otherwise: add -H 'Content-Type: image/png')" if "urlencoded" in name else ""
    raise ImageError(415, "unsupported_media_type", f"media type {name[:80]!r} is not accepted{hint}; send {_ACCEPTED}")


def _no_image(data: bytes, declared: Container | None) -> ImageError:
    foreign = next((name for magic, name in _FOREIGN_MAGIC.items() if data.startswith(magic)), None)
    if foreign and declared is None:
        return ImageError(415, "unsupported_media_type", f"this looks like {foreign}, which is not accepted; send {_ACCEPTED}")
    expected = f"a {declared} file" if declared else _ACCEPTED
    return ImageError(400, "undecodable_image", f"expected {expected}, but the data starts with {bytes(data[:16])!r}")


def read_npy(data: bytes) -> np.ndarray:
    """The array in an npy file, as a read-only view of `data` (nothing is allocated, no pickle is read).

    Raises ImageError 400 for a broken file, 422 for a dtype that is no number.
    """
    return _npy_view(data, *_npy_header(data))


def read_npy_image(data: bytes, limits: ImageLimits) -> np.ndarray:
    """The same of an image, (H, W) or (H, W, channels). Raises also ImageError 422 for another shape, 413 by `limits`."""
    shape, fortran, dtype, offset = _npy_header(data)
    if len(shape) not in (2, 3):
        raise ImageError(422, "wrong_shape", f"the npy array has {len(shape)} axes; expected (H, W) or (H, W, channels)")
    if len(shape) == 3 and shape[2] not in (1, 3, 4):
        hint = "; move the channel axis to the end" if shape[0] in (1, 3, 4) else ""
        raise ImageError(
            422, "wrong_shape", f"the last axis of the npy array must be 1 or 3 channels, not the width or height{hint}"
        )
    limits.check_pixels(shape[0], shape[1])
    return _npy_view(data, shape, fortran, dtype, offset)


def _npy_header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether columns come first, dtype, and where the numbers begin."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(stream)
    except Exception as error:  # the parser of a foreign format on foreign bytes: it may raise anything
        raise ImageError(400, "undecodable_image", f"the npy header cannot be read ({_first_line(error)})") from error
    if dtype.kind not in "biuf" or dtype.shape:
        raise ImageError(422, "wrong_dtype", f"the npy array holds {str(dtype)[:80]}; expected plain numbers or booleans")
    return shape, fortran, dtype, stream.tell()


def _npy_view(data: bytes, shape: tuple[int, ...], fortran: bool, dtype: np.dtype, offset: int) -> np.ndarray:
    # Python's integers: the product of what a header claims may exceed 64 bits.
    expected = dtype.itemsize * math.prod(shape)
    if len(data) - offset != expected:
        raise ImageError(
            400,
            "undecodable_image",
            f"the npy header announces {shape} {dtype} = {expected} bytes, but {len(data) - offset} follow: cut off?",
        )
    return np.frombuffer(data, dtype, offset=offset).reshape(shape, order="F" if fortran else "C")


def open_picture(data: bytes, container: Container, limits: ImageLimits) -> Image.Image:
    """A PNG or JPEG of which only the header has been read.

    Raises ImageError 400 for a broken header, 413 by `limits` or for a file of more pieces than an image needs.
    """
    (check_png if container == "png" else check_jpeg)(data)
    # The plugin classes and not Image.open: no other format is tried, and our limits stand in for Pillow's bomb warning.
    plugin = PngImagePlugin.PngImageFile if container == "png" else JpegImagePlugin.JpegImageFile
    try:
        picture = plugin(io.BytesIO(data))
    except Exception as error:  # as above
        raise ImageError(400, "undecodable_image", f"the {container} header cannot be read ({_first_line(error)})") from error
    limits.check_pixels(picture.height, picture.width)
    return picture


def pixels_of(picture: Image.Image, mode: str | None = None) -> np.ndarray:
    """Decodes an opened picture, converted to `mode` if given. Raises ImageError 400 when its data are broken or cut off."""
    try:
        picture.load()
        return np.asarray(picture.convert(mode) if mode else picture)
    except Exception as error:  # as above
        message = f"the {picture.format} data cannot be decoded ({_first_line(error)}): is the file cut off or damaged?"
        raise ImageError(400, "undecodable_image", message) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
