"""Other writers of the same disk: what a write costs that must be durable depends on them more than on any code here."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.scale.parts import SPAWN

BLOCK = 2**24
"""Bytes of one write: the device is busy with it for milliseconds, the CPU hardly."""
BLOCKS = 4
SYNCS = 200


@contextmanager
def busy_disk(writers: int) -> Iterator[float]:
    """Writes to the disk of temporary files from `writers` processes meanwhile; yields the median of a sync (s) beside them.

    Linux only where `writers` is not 0.
    """
    with TemporaryDirectory() as name:
        ready = SPAWN.Barrier(writers + 1)
        processes = [SPAWN.Process(target=_write, args=(Path(name) / str(number), ready)) for number in range(writers)]
        for process in processes:
            process.start()
        try:
            ready.wait()
            yield _sync_seconds(Path(name) / "sync")
        finally:
            for process in processes:
                process.kill()
                process.join()


def _write(path: Path, ready: Any) -> None:
    block = mmap.mmap(-1, BLOCK)  # begins on a page, as O_DIRECT asks
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    ready.wait()
    while True:
        os.lseek(file, 0, os.SEEK_SET)
        for _ in range(BLOCKS):
            os.write(file, block)


def _sync_seconds(path: Path) -> float:
    taken = []
    with open(path, "wb") as file:
        for _ in range(SYNCS):
            file.write(bytes(4096))
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return float(np.median(taken))
