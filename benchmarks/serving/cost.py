"""A network with the cost of a GPU: a launch takes LAUNCH_MS whatever the batch, and every item ITEM_MS more."""

from __future__ import annotations

import threading
import time

LAUNCH_MS, ITEM_MS = 8.0, 0.25
_device = threading.Lock()


def forward(items: int) -> None:
    """Occupy the one device for as long as a batch of `items` takes; the interpreter is free meanwhile, as with a GPU."""
    with _device:
        time.sleep((LAUNCH_MS + ITEM_MS * items) / 1e3)
