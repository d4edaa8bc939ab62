"""The project's commands as a user starts them, but in the test's own process: nothing heavy is imported again."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import runpy
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from places import ROOT

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_module(module: str, *arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m module arguments` with more environment variables, for commands that end by themselves."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    argv, variables = mock.patch.object(sys, "argv", [module, *arguments]), mock.patch.dict(os.environ, environment)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _as_before(), argv, variables:
        os.chdir(cwd)
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = _status(end)
        except Exception:
            traceback.print_exc()
            status = 1
    return subprocess.CompletedProcess([module, *arguments], status, out.getvalue(), err.getvalue())


def _status(end: SystemExit) -> int:
    if isinstance(end.code, str):
        print(end.code, file=sys.stderr)
        return 1
    return end.code or 0


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """What a command sets for the whole process is set back."""
    folder, logger, interval = os.getcwd(), logging.getLogger(), sys.getswitchinterval()
    handlers, level = logger.handlers[:], logger.level
    signals = {number: signal.getsignal(number) for number in HANDLED}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'.*' found in sys.modules", RuntimeWarning)
            yield
    finally:
        os.chdir(folder)
        logger.handlers[:], logger.level = handlers, level
        sys.setswitchinterval(interval)
        for number, handler in signals.items():
            signal.signal(number, handler)
