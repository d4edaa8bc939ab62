"""Files of more pieces than an image needs are refused before a decoder walks through them; those of cameras are not."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from grasp_client.imaging import ImageError, decode_image
from grasp_client.imaging.structure import MOST_JPEG_SCANS, MOST_PNG_CHUNKS


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*between: bytes, pieces: int = 1) -> bytes:
    """A 16-bit PNG of 8 x 8 pixels, its data cut into pieces, with other chunks before them."""
    header = struct.pack(">IIBBBBB", 8, 8, 16, 0, 0, 0, 0)
    data = zlib.compress((np.full((8, 17), 2, np.uint8) * (np.arange(17) > 0)).astype(np.uint8).tobytes())
    idat = [chunk(b"IDAT", b"")] * (pieces - 1) + [chunk(b"IDAT", data)]
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join((*between, *idat)) + chunk(b"IEND", b"")


def jpeg(size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise(size, 40).convert("RGB").save(stream, "JPEG", **options)
    return stream.getvalue()


def scanned(times: int) -> bytes:
    """A progressive JPEG whose last scan is there so many times more."""
    data = jpeg(progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * times + data[-2:]


BOMBS = {
    "png in a hundred thousand pieces": png(pieces=100_000),
    "png with a hundred thousand comments": png(*[chunk(b"tEXt", b"a\0b")] * 100_000),
    "png with megabytes of text": png(*[chunk(b"zTXt", b"a\0\0" + bytes(200_000))] * 10),
    "jpeg with ten thousand scans": scanned(10_000),
    "jpeg with a hundred thousand comments": b"\xff\xd8" + b"\xff\xfe\0\2" * 100_000 + jpeg()[2:],
    "jpeg after a megabyte of padding": b"\xff\xd8" + b"\xff" * 2**20 + jpeg()[2:],
    "jpeg after a megabyte of junk": b"\xff\xd8\xff" + b"\xf0" + b"a" * 2**20 + jpeg()[2:],
    "jpeg with long headers": b"\xff\xd8" + (b"\xff\xe2\xff\xff" + bytes(65533)) * 200 + jpeg()[2:],
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_of_too_many_pieces_is_refused(name: str) -> None:
    with pytest.raises(ImageError) as refused:
        decode_image(BOMBS[name])
    assert (refused.value.status, refused.value.code) == (413, "image_too_complex")


ORDINARY = {
    "as many chunks as are allowed": png(pieces=MOST_PNG_CHUNKS - 2),
    "a comment and a profile": png(chunk(b"tEXt", b"Comment\0made by a camera"), chunk(b"pHYs", struct.pack(">IIB", 1, 1, 0))),
    "a baseline jpeg": jpeg((640, 480)),
    "a progressive jpeg": jpeg((640, 480), progressive=True),
    "a jpeg with a thumbnail, a comment and a profile": jpeg(
        exif=b"Exif\0\0" + jpeg((16, 16)), comment=b"a comment", icc_profile=bytes(300_000)
    ),
    "as many scans as are allowed": scanned(MOST_JPEG_SCANS - 10),
    "padded markers": b"\xff\xd8" + b"\xff" * 50 + jpeg()[2:],
}


@pytest.mark.parametrize("name", ORDINARY)
def test_what_cameras_and_libraries_write_is_decoded(name: str) -> None:
    assert decode_image(ORDINARY[name])[1].size
