"""Small pictures in a terminal that knows 24-bit colours."""

import numpy as np


def colours(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of a picture (channels, H, W)."""
    return np.repeat(picture, 3, axis=0).transpose(1, 2, 0) if len(picture) == 1 else picture.transpose(1, 2, 0)


def show(picture: np.ndarray) -> None:
    """Draws a picture (channels, H, W) uint8, two rows of pixels a line, from the terminal's upper left corner."""
    image = colours(picture)
    lines = []
    for upper, lower in zip(image[::2], image[1::2], strict=True):
        cells = (f"\x1b[38;2;{a[0]};{a[1]};{a[2]}m\x1b[48;2;{b[0]};{b[1]};{b[2]}m▀" for a, b in zip(upper, lower, strict=True))
        lines.append("".join(cells) + "\x1b[0m")
    print("\x1b[H" + "\r\n".join(lines), end="\r\n")
