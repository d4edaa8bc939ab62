"""PNG, JPEG, TIFF, PGM, npy and npz: which of them some bytes are, and their pixels as an array, whatever these mean."""

import io
import math
import re
import zipfile
import zlib
from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, JpegImagePlugin, PngImagePlugin, PpmImagePlugin, TiffImagePlugin

from grasp_client.imaging.limits import ImageError, ImageLimits
from grasp_client.imaging.structure import check_jpeg, check_png

Container = Literal["png", "jpeg", "tiff", "pgm", "npy", "npz"]

_MAGIC: dict[bytes, Container] = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
    b"P5": "pgm",
    b"P6": "pgm",
    b"\x93NUMPY": "npy",
    b"PK\x03\x04": "npz",
}
# The plugin classes and not Image.open: no other format is tried, and our limits stand in for Pillow's bomb warning.
_PLUGINS: dict[Container, type[ImageFile.ImageFile]] = {
    "png": PngImagePlugin.PngImageFile,
    "jpeg": JpegImagePlugin.JpegImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "pgm": PpmImagePlugin.PpmImageFile,
}
_CHECKS: dict[Container, Callable[[bytes], None]] = {"png": check_png, "jpeg": check_jpeg}
_FOREIGN_MAGIC = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WebP or another RIFF file",
    b"\x1f\x8b": "gzip",
    b"v/1\x01": "OpenEXR",
    b"%PDF": "PDF",
}
_CURES = {
    "OpenEXR": ". No library that is installed reads it: with one that does (`pip install OpenEXR`) write depth as npy, "
    "numpy.save('depth.npy', metres.astype('float32')), and colour as PNG"
}
_MEDIA_TYPES: dict[str, Container | None] = {
    "": None,
    "application/octet-stream": None,
    "image/png": "png",
    "image/x-png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/tiff": "tiff",
    "image/x-portable-graymap": "pgm",
    "image/x-portable-pixmap": "pgm",
    "image/x-portable-anymap": "pgm",
    "application/x-npz": "npz",
    "application/zip": "npz",
    "application/x-npy": "npy",
    "application/npy": "npy",
    "application/x-numpy": "npy",
}
_ACCEPTED = "PNG (image/png), JPEG (image/jpeg), npy (application/x-npy), npz, TIFF or PGM"


def container_of(data: bytes, media_type: str | None) -> Container:
    """What the bytes are, by their first bytes and by what the sender says; the two must not contradict each other.

    Raises ImageError 415 for a media type or a file format that is not accepted, 400 for bytes that are no image.
    """
    declared = _declared(media_type)
    found = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    if found is None:
        raise _no_image(data, declared)
    if declared not in (None, found):
        right = next(name for name, kind in _MEDIA_TYPES.items() if kind == found)
        message = f"the media type {media_type!r:.80} does not fit the bytes, which are {found}: send Content-Type {right}"
        raise ImageError(415, "media_type_mismatch", message)
    return found


def _declared(media_type: str | None) -> Container | None:
    name = (media_type or "").split(";")[0].strip().lower()
    if name in _MEDIA_TYPES:
        return _MEDIA_TYPES[name]
    if "exr" in name:
        raise ImageError(415, "unsupported_media_type", f"media type {name[:80]!r} is not accepted{_CURES['OpenEXR']}")
    hint = " (curl sends this unless told otherwise: add -H 'Content-Type: image/png')" if "urlencoded" in name else ""
    raise ImageError(415, "unsupported_media_type", f"media type {name[:80]!r} is not accepted{hint}; send {_ACCEPTED}")


def _no_image(data: bytes, declared: Container | None) -> ImageError:
    foreign = next((name for magic, name in _FOREIGN_MAGIC.items() if data.startswith(magic)), None)
    if foreign and declared is None:
        message = f"this looks like {foreign}, which is not accepted; send {_ACCEPTED}{_CURES.get(foreign, '')}"
        return ImageError(415, "unsupported_media_type", message)
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
    last = len(shape) == 2 or shape[2] in (1, 3, 4)
    if not last and shape[0] not in (1, 3, 4):
        raise ImageError(
            422, "wrong_shape", f"the npy array has the shape {shape}: expected 1, 3 or 4 channels on its last axis"
        )
    limits.check_pixels(*(shape[:2] if last else shape[1:]))
    array = _npy_view(data, shape, fortran, dtype, offset)
    return array if last else np.moveaxis(array, 0, 2)


def npy_in_npz(data: bytes, names: tuple[str, ...], limits: ImageLimits) -> bytes:
    """The npy file of an npz: its only one, or the first of `names`. Raises ImageError 400, 413 by `limits`, or 422."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            name = next(iter(found)) if len(found) == 1 else next((each for each in names if each in found), None)
            if name is None:
                listed = ", ".join(sorted(found))[:200]
                raise ImageError(
                    422, "wrong_npz", f"the npz holds {listed}: expected one array, or one named {' or '.join(names)}"
                )
            if found[name].file_size > limits.max_bytes:
                raise ImageError(413, "image_too_large", f"{name!r} in the npz has {found[name].file_size} bytes unpacked")
            return archive.read(found[name])
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise ImageError(400, "undecodable_image", f"the npz cannot be read ({_first_line(error)})") from error


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
    """A picture of which only the header has been read.

    Raises ImageError 400 for a broken header, 413 by `limits` or for a file of more pieces than an image needs.
    """
    if container in _CHECKS:
        _CHECKS[container](data)
    try:
        picture = _PLUGINS[container](io.BytesIO(data))
    except Exception as error:  # as above
        raise ImageError(400, "undecodable_image", f"the {container} header cannot be read ({_first_line(error)})") from error
    limits.check_pixels(picture.height, picture.width)
    return picture


def pixels_of(picture: Image.Image, mode: str | None = None) -> np.ndarray:
    """Decodes an opened picture, converted to `mode` if given; colours are turned as EXIF says.

    Raises ImageError 400 when its data are broken or cut off.
    """
    try:
        picture.load()
        if mode and picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            picture = ImageOps.exif_transpose(picture)
        return np.asarray(picture.convert(mode) if mode else picture)
    except Exception as error:  # as above
        message = f"the {picture.format} data cannot be decoded ({_first_line(error)}): is the file cut off or damaged?"
        raise ImageError(400, "undecodable_image", message) from error


def pgm_units(data: bytes, picture: Image.Image) -> np.ndarray:
    """Values of a PGM as they lie in the file: Pillow stretches those that do not reach to 65535."""
    header = re.match(rb"P5\s+(?:#[^\n]*\s+)*\d+\s+(?:#[^\n]*\s+)*\d+\s+(?:#[^\n]*\s+)*(\d+)\s", data[:4096])
    most = int(header[1]) if header else 65535
    values = pixels_of(picture).astype(np.float64)
    return values if most == 65535 else np.rint(values * most / 65535)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
