"""What tests of policies share: few worlds, few steps, and worlds that need no process of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

import pytest

from trainer_job.rl import world_process
from trainer_job.rl.worlds import RemoteWorlds

MakeWorlds = Callable[..., RemoteWorlds]


class Threads:
    """In place of multiprocessing's context: a thread that serves the worlds over a pipe. What a process costs is its start."""

    Pipe = staticmethod(Pipe)

    @staticmethod
    def Process(target: Any, args: tuple[Any, ...], daemon: bool) -> Thread:  # noqa: N802 (as multiprocessing calls it)
        assert target is world_process.main
        pipe, *others = args
        own = Connection(os.dup(pipe.fileno()))  # as a process has it: who started it closes theirs
        return Thread(target=world_process.serve, args=(own, *others), daemon=daemon)


def _in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_process, "get_context", lambda method: Threads)


@pytest.fixture
def threads() -> Callable[[pytest.MonkeyPatch], None]:
    """What has worlds served by threads from now on."""
    return _in_threads


@pytest.fixture(autouse=True)
def _worlds_in_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless a test is marked `processes`."""
    if request.node.get_closest_marker("processes") is None:
        _in_threads(monkeypatch)


@pytest.fixture
def make_worlds() -> Iterator[MakeWorlds]:
    """Worlds that are closed after the test."""
    with ExitStack() as opened:

        def make(count: int = 2, **options) -> RemoteWorlds:
            worlds = RemoteWorlds("closed-loop", count, privileged=True, **options)
            opened.callback(worlds.close)
            return worlds

        yield make
