"""`python -m services.local` as a test sees it: started, watched, its children killed, stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from places import ROOT
from waiting import PATIENCE, wait_until

from services.status import Status, StatusReader


def runs(process: int) -> bool:
    """Whether a process (by its number) still does anything."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class RunningLoop:
    """One run of the launcher on `folder`/data; a later one on the same folder continues it."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.data, self.output = folder / "data", folder / f"output-{time.time_ns()}.txt"
        environment = {**os.environ, "PORT": "0", "DATA_DIR": str(self.data), "PYTHONPATH": str(ROOT), **variables}
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.local"],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.redis_url = self._said(r"queue at (\S+),")
        self.url = self._said(r"server at (\S+),")
        self.reader = StatusReader(self.redis_url, self.data / "models", self.data / "shards")

    def _said(self, pattern: str) -> str:
        self.wait_for(lambda: re.search(pattern, self.output.read_text()), f"a line with {pattern!r}")
        found = re.search(pattern, self.output.read_text())
        assert found
        return found.group(1)

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float = 2 * PATIENCE) -> None:
        def reached() -> object:
            ended = self.process.poll() is not None
            found = condition()
            assert found or not ended, f"the launcher ended while waiting for {what}:\n{self.story()}"
            return found

        wait_until(reached, lambda: f"{what}:\n{self.story()}", seconds, every=0.1)

    def status(self) -> Status:
        return self.reader.read()

    def sent(self) -> int:
        """Outcomes that the queue has accepted so far; waits while the queue is away."""
        self.wait_for(lambda: self.status().sent is not None, "the queue")
        return self.status().sent or 0

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: "ready: POST" in self.output.read_text(), "all services")

    def children(self) -> dict[str, int]:
        """Process ids of the launcher's children by what they are."""
        number = self.process.pid
        found = {}
        for child in Path(f"/proc/{number}/task/{number}/children").read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
            found[command[2] if "-m" in command else "queue"] = int(child)
        return found

    def stop(self) -> None:
        """As Ctrl-C does; fails when the launcher does not end well or leaves a child."""
        children = self.children()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=PATIENCE) == 0, self.story()
        left = {name: number for name, number in children.items() if runs(number)}
        assert not left, f"left behind: {left}"

    def kill(self) -> None:
        """As kill -9 of the launcher does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def story(self) -> str:
        """What launcher and children said, for a failed test."""
        logs = sorted((self.data / "logs").glob("*.log"))
        texts = [(path.name, path.read_text(errors="replace")) for path in [self.output, *logs] if path.exists()]
        return "\n".join(f"--- {name}\n{text[-3000:]}" for name, text in texts)
