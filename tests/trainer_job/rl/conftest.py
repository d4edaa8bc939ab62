"""What tests of policies share: few worlds, few steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from trainer_job.rl.worlds import RemoteWorlds

MakeWorlds = Callable[..., RemoteWorlds]


@pytest.fixture
def make_worlds() -> Iterator[MakeWorlds]:
    """Worlds that are closed after the test."""
    with ExitStack() as opened:

        def make(count: int = 2, **options) -> RemoteWorlds:
            worlds = RemoteWorlds("closed-loop", count, privileged=True, **options)
            opened.callback(worlds.close)
            return worlds

        yield make
