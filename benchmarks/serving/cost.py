"""A network with the cost of a GPU: a launch takes so long whatever the batch, and every item a little more."""

from __future__ import annotations

import os
import threading
import time

LAUNCH_MS, ITEM_MS = (float(part) for part in os.environ.get("GPU_LIKE_MS", "8,0.25").split(","))
"""8 ms and 0.25 ms: a convolutional network on a mid-range GPU, where a batch of 32 costs twice as much as one image."""
_device = threading.Lock()


def forward(items: int) -> float:
    """Occupy the one device for as long as a batch of `items` takes, and return the milliseconds that it took.

    The interpreter is free meanwhile, as with a GPU.
    """
    with _device:
        started = time.perf_counter()
        time.sleep((LAUNCH_MS + ITEM_MS * items) / 1e3)
        return (time.perf_counter() - started) * 1e3
