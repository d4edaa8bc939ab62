"""Programs of a tree as processes of their own, which end with the block that they were started in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from benchmarks.compare.trees import Tree

STOP_SECONDS = 90.0
"""More than the whole loop takes to drain."""
TAIL = 2000
Found = TypeVar("Found")


class Program:
    """A running process, in a group of its own. output: file for all that it says."""

    def __init__(self, command: Sequence[object], folder: Path, variables: Mapping[str, str], output: Path):
        self.command, self.output = " ".join(map(str, command)), output
        with open(output, "wb") as file:
            self.process = subprocess.Popen(
                list(map(str, command)), cwd=folder, env={**os.environ, **variables}, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip

    def said(self) -> str:
        return self.output.read_text()

    def wait_for(self, look: Callable[[], Found], seconds: float) -> Found:
        """What `look` finds at last. Raises RuntimeError with the end of the output when the process ends, or time is up."""
        until = time.monotonic() + seconds
        while not (found := look()):
            if self.process.poll() is not None or time.monotonic() > until:
                raise self._failed()
            time.sleep(0.02)
        return found

    def wait(self, seconds: float) -> None:
        """Until it ends by itself. Raises RuntimeError when that takes longer, or when it ends with an error."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self._failed() from None
        if status:
            raise self._failed()

    def stop(self) -> None:
        """Ask it to end, and kill what is left of it and its children after `STOP_SECONDS`."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _failed(self) -> RuntimeError:
        state = "still runs" if self.process.poll() is None else f"ended with {self.process.returncode}"
        return RuntimeError(f"{self.command} {state}; the end of what it said:\n{self.said()[-TAIL:]}")


@contextmanager
def python(tree: Tree, arguments: Sequence[object], folder: Path, **settings: object) -> Iterator[Program]:
    """A Python program that finds the code of the tree and runs in `folder`; settings become environment variables."""
    variables = {name.upper(): str(value) for name, value in settings.items()}
    with program([sys.executable, *arguments], folder, PYTHONPATH=tree.python_path, **variables) as started:
        yield started


@contextmanager
def program(command: Sequence[object], folder: Path, **variables: str) -> Iterator[Program]:
    started = Program(command, folder, variables, folder / f"output-{time.time_ns()}.txt")
    try:
        yield started
    finally:
        started.stop()
