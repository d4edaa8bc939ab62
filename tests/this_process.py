"""One worker in the tests' own process, where all is loaded, in place of a process of its own; several have theirs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from types import ModuleType
from typing import Any

import pytest

from sim_worker.processes import process_pool


class ThisProcess(Executor):
    """Runs what is submitted at once."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


def one_worker_here(monkeypatch: pytest.MonkeyPatch, command: ModuleType, *kept: str) -> None:
    """Of a command's module. kept: its variables in which a worker keeps what it has made."""

    @contextlib.contextmanager
    def pool(workers: int) -> Iterator[Executor]:
        for name in kept:
            monkeypatch.setattr(command, name, None)
        with process_pool(workers) if workers > 1 else contextlib.nullcontext(ThisProcess()) as executor:
            yield executor

    monkeypatch.setattr(command, "process_pool", pool)
