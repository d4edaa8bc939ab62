"""The project's commands in processes forked from one that has imported what they need: a start takes no seconds."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from multiprocessing import get_context
from pathlib import Path

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["trainer_job.service.trainer", "inference_server.app"])


class Forked:
    """`python -m module arguments`, from which signals and kills are survived or not as by any process; its errors go to `log`.

    As of `subprocess.Popen`: pid, poll, wait, send_signal, kill.
    """

    def __init__(self, module: str, arguments: list[str], log: Path, cwd: Path, **environment: str) -> None:
        there = os.environ | environment
        self._process = CONTEXT.Process(target=_run, args=(module, arguments, str(log), str(cwd), dict(there)))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int:
        self._process.join(seconds)
        status = self.poll()
        assert status is not None, f"process {self.pid} has not ended within {seconds:g} s"
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(module: str, arguments: list[str], log: str, cwd: str, environment: dict[str, str]) -> None:
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
