"""The whole loop (queue, server, workers, trainer) as child processes, until so many attempts are stored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from shared.shards import ShardReader, shard_folders

LOOK_SECONDS = 1.0
STOP_SECONDS = 90.0


class LoopFailed(RuntimeError):
    """The launcher ended by itself."""


def stored(data: Path) -> list[tuple[float, dict]]:
    """(time, meta) of every stored attempt, in order of time."""
    rows = (row["meta"] for folder in shard_folders(data / "shards") for row in ShardReader(folder).rows)
    return sorted(((meta["time"], meta) for meta in rows), key=lambda pair: pair[0])


def attempts(data: Path) -> int:
    return sum(len(ShardReader(folder)) for folder in shard_folders(data / "shards"))


def run_until(data: Path, wanted: int, variables: dict[str, str], minutes: float) -> bool:
    """Runs the launcher on `data` until `wanted` attempts are stored (True) or the time is up (False); goes on where it was.

    Raises LoopFailed with what the launcher said when it ends by itself.
    """
    if attempts(data) >= wanted:
        return True
    data.mkdir(parents=True, exist_ok=True)
    said = data / "launcher.txt"
    environment = {**os.environ, "PORT": "0", "DATA_DIR": str(data.resolve()), **variables}
    with open(said, "ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.local"], env=environment, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + 60 * minutes
    try:
        while (done := attempts(data)) < wanted and time.monotonic() < deadline:
            if process.poll() is not None:
                raise LoopFailed(f"the launcher ended after {done} attempts:\n{said.read_text()[-2000:]}")
            time.sleep(LOOK_SECONDS)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=STOP_SECONDS)
    return attempts(data) >= wanted


def seconds(stamp: str) -> float:
    """Unix time of a card's time stamp."""
    return datetime.fromisoformat(stamp).timestamp()
