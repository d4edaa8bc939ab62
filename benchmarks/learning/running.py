"""The whole loop (queue, server, workers, trainer) as child processes, until so many attempts are stored."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.settings import LocalSettings, ServerSettings, TrainerSettings, WorkerSettings
from shared.shards import ShardReader, shard_folders

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    name.upper() for each in (LocalSettings, ServerSettings, WorkerSettings, TrainerSettings) for name in each.model_fields
}
LOOK_SECONDS = 1.0
STOP_SECONDS = 90.0


class LoopFailed(RuntimeError):
    """The launcher ended by itself."""


@dataclass(frozen=True)
class Loop:
    """The launcher, and what it says."""

    process: subprocess.Popen[Any]
    said: Path

    def poll(self) -> None:
        """Raises LoopFailed with what the launcher said when it has ended by itself."""
        if self.process.poll() is not None:
            raise LoopFailed(f"the launcher ended:\n{self.said.read_text()[-2000:]}")

    @property
    def url(self) -> str:
        """Of the server that it started last."""
        result: str = re.findall(r"server at (\S+),", self.said.read_text())[-1]
        return result


def start(data: Path, variables: dict[str, str]) -> Loop:
    """The loop on `data`, which it goes on from. It knows no settings but `variables`: neither those of the environment nor a
    `.env`, so that what is measured does not depend on them."""
    data.mkdir(parents=True, exist_ok=True)
    said = data / "launcher.txt"
    around = {name: value for name, value in os.environ.items() if name.upper() not in SETTINGS}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**around, "PYTHONPATH": path, "PORT": "0", "DATA_DIR": str(data.resolve()), **variables}
    with open(said, "ab") as output:
        command = [sys.executable, "-m", "services.local"]
        process = subprocess.Popen(command, cwd=data, env=environment, stdout=output, stderr=output, start_new_session=True)
        return Loop(process, said)


def stored(data: Path) -> list[tuple[float, dict[str, Any]]]:
    """(time, meta) of every stored attempt, in order of time."""
    rows = (row.meta for folder in shard_folders(data / "shards") for row in ShardReader(folder).rows)
    return sorted(((meta["time"], meta) for meta in rows), key=lambda pair: pair[0])


def attempts(data: Path) -> int:
    return sum(len(ShardReader(folder)) for folder in shard_folders(data / "shards"))


def run_until(data: Path, wanted: int, variables: dict[str, str], minutes: float) -> bool:
    """Runs the loop until `wanted` attempts are stored (True) or the time is up (False); a later call goes on from there.

    Raises LoopFailed when the launcher ends by itself.
    """
    if attempts(data) >= wanted:
        return True
    loop, deadline = start(data, variables), time.monotonic() + 60 * minutes
    try:
        while attempts(data) < wanted and time.monotonic() < deadline:
            loop.poll()
            time.sleep(LOOK_SECONDS)
    finally:
        if loop.process.poll() is None:
            loop.process.send_signal(signal.SIGINT)
            loop.process.wait(timeout=STOP_SECONDS)
    return attempts(data) >= wanted


def seconds(stamp: str) -> float:
    """Unix time of a card's time stamp."""
    return datetime.fromisoformat(stamp).timestamp()
