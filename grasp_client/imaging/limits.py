"""How large an image may be, and the one error of this package."""

from dataclasses import dataclass

MAX_SIDE = 1 << 20
"""Longest side that is looked at at all, pixels: keeps absurd headers out of arithmetic and messages."""


class ImageError(ValueError):
    """An image that cannot be used. `status` is 400, 413, 415 or 422; `code` is for programs, `message` for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True)
class ImageLimits:
    """Checked against headers, before anything is decoded."""

    max_pixels: int = 16_000_000
    max_bytes: int = 64 * 2**20

    def check_bytes(self, data: bytes) -> None:
        """Raises ImageError 400 for no bytes at all, 413 for too many."""
        if not data:
            raise ImageError(400, "empty_image", "the image is empty (0 bytes): was the file read, and is its path right?")
        if len(data) > self.max_bytes:
            raise ImageError(413, "image_too_large", f"the image has {len(data)} bytes; at most {self.max_bytes} are accepted")

    def check_raw(self, data: bytes, height: int, width: int) -> None:
        """Both of the following, of an image whose size is told beside it."""
        self.check_bytes(data)
        self.check_pixels(height, width)

    def check_pixels(self, height: int, width: int) -> None:
        """Raises ImageError 422 for an empty image, 413 for one with too many pixels."""
        if height < 1 or width < 1:
            raise ImageError(422, "wrong_shape", f"the image is {width} x {height} pixels: both sides must be at least 1")
        if max(height, width) > MAX_SIDE or height * width > self.max_pixels:
            size = f"{width} x {height}" if max(height, width) <= MAX_SIDE else f"more than {MAX_SIDE} pixels wide or high"
            raise ImageError(
                413, "too_many_pixels", f"the image is {size}; at most {self.max_pixels} pixels are accepted: crop or resize it"
            )


DEFAULT_LIMITS = ImageLimits()
