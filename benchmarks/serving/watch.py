"""What a server takes and does while it is under load: memory, CPU time, and the series of /metrics."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

TICKS = os.sysconf("SC_CLK_TCK")
PERIOD = 0.25


def family(process: int) -> list[int]:
    """A process and all its descendants."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):  # it ended meanwhile
            continue
    found = [process]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def cpu_seconds(process: int) -> float:
    """CPU time that a process and its descendants have used."""
    total = 0
    for each in family(process):
        fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_mb(process: int) -> float:
    """Resident memory of a process, MB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Memory:
    """Samples of a process' resident memory, (seconds since the first, MB), and the moments at which parts began."""

    def __init__(self, process: int):
        self.samples: list[tuple[float, float]] = []
        self.parts: list[tuple[float, str]] = []
        self._process, self._started, self._stop = process, time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def part(self, name: str) -> None:
        self.parts.append((round(time.monotonic() - self._started, 2), name))

    def _sample(self) -> None:
        while not self._stop.wait(PERIOD):
            self.samples.append((round(time.monotonic() - self._started, 2), round(resident_mb(self._process), 1)))

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


class Depth:
    """The largest queue depth seen while the block runs."""

    most = 0.0


@contextmanager
def queue_depth(url: str) -> Iterator[Depth]:
    depth, stop = Depth(), threading.Event()

    def sample() -> None:
        with httpx.Client(timeout=10) as client:
            while not stop.wait(PERIOD):
                depth.most = max(depth.most, series(client.get(f"{url}/metrics").text).get("grasp_queue_depth", 0.0))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield depth
    finally:
        stop.set()
        thread.join()


def series(text: str) -> dict[str, float]:
    """Prometheus text as name (with labels) to value."""
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def batch_histogram(before: dict[str, float], after: dict[str, float]) -> dict[str, int]:
    """Batches by size (upper bound of the bucket) between two looks at /metrics."""
    edges = sorted((float(name.split('"')[1]), name) for name in after if name.startswith("grasp_batch_size_bucket"))
    histogram, below = {}, 0.0
    for edge, name in edges:
        count = after[name] - before.get(name, 0.0)
        if count > below:
            histogram["more" if edge == float("inf") else f"{edge:.0f}"] = int(count - below)
        below = count
    return histogram
