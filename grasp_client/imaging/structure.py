"""How many pieces a PNG or JPEG may be made of: Pillow walks through them one by one, however few pixels there are."""

from struct import unpack_from

from PIL.JpegImagePlugin import MARKER

from grasp_client.imaging.limits import ImageError

MOST_PNG_CHUNKS = 20_000
"""libpng writes 8 KiB of pixels in each: 64 MiB are 8,192."""
MOST_PNG_EXTRA_BYTES = 2**20
"""Text, profiles and what else stands beside the pixels, compressed."""
MOST_JPEG_SEGMENTS = 4096
"""Before the first scan."""
MOST_JPEG_HEADER_BYTES = 8 * 2**20
"""Before the first scan; phones write maps of a few MiB there."""
MOST_JPEG_SCANS = 100
"""A progressive JPEG has about ten, and each goes over all pixels: 10 ms for 16 megapixels, even where nothing is in it."""
_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")


def check_png(data: bytes) -> None:
    """Raises ImageError 413 for more chunks, or more beside the pixels, than any image needs."""
    at, chunks, extra = 8, 0, 0
    while at + 8 <= len(data):
        length, kind = unpack_from(">I4s", data, at)
        chunks, extra = chunks + 1, extra + (0 if kind in _PIXELS else length)
        if chunks > MOST_PNG_CHUNKS:
            raise _too_complex("PNG", f"more than {MOST_PNG_CHUNKS} chunks")
        if extra > MOST_PNG_EXTRA_BYTES:
            raise _too_complex("PNG", f"more than {MOST_PNG_EXTRA_BYTES} bytes of text and profiles")
        if kind == b"IEND":
            return
        at += 12 + length


def check_jpeg(data: bytes) -> None:
    """Raises ImageError 413 for more segments, bytes or scans than any image needs."""
    at, segments = 2, 0
    while at + 4 <= len(data):
        segments += 1
        if segments > MOST_JPEG_SEGMENTS or at > MOST_JPEG_HEADER_BYTES:
            limit = f"{MOST_JPEG_SEGMENTS} segments or {MOST_JPEG_HEADER_BYTES} bytes"
            raise _too_complex("JPEG", f"more than {limit} before its pixels")
        marker = int.from_bytes(data[at : at + 2], "big")
        if marker == 0xFFDA:
            break
        _, _, read = MARKER.get(marker, ("", "", None))
        # Without a function that reads it, it has no length: padding, junk, or a marker that stands alone.
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big") if read else 1
    # Within a scan 0xFF is followed by 0 or a restart marker, so this counts starts of scans (and those of a thumbnail).
    scans = data.count(b"\xff\xda", at)
    if scans > MOST_JPEG_SCANS:
        raise _too_complex("JPEG", f"{scans} scans, at most {MOST_JPEG_SCANS} are decoded")


def _too_complex(container: str, what: str) -> ImageError:
    message = f"the {container} has {what}: save it again, without metadata and not progressive"
    return ImageError(413, "image_too_complex", message)
