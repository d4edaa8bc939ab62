"""Every outcome is counted once, whatever is killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_loop import RunningLoop, runs

from shared.shards import ShardReader, shard_folders

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="finds the launcher's children in /proc"),
]
STARTS = 3
VARIABLES = {"WORKERS": "1", "ROUND_OUTCOMES": "60", "SHARD_OUTCOMES": "8", "SHARD_SECONDS": "1", "EPOCHS": "1"}


@pytest.fixture
def started() -> Iterator[list[RunningLoop]]:
    loops: list[RunningLoop] = []
    yield loops
    for loop in loops:
        loop.kill()


def run_with_kills(loop: RunningLoop) -> None:
    """Kill -9 every child once, each after the loop has got going again."""
    loop.wait_until_ready()
    for name in ("queue", "inference_server", "sim_worker", "trainer_job"):
        mark = loop.sent()
        loop.wait_for(lambda mark=mark: (loop.status().sent or 0) > mark + 3, 120, f"outcomes before {name} is killed")  # type: ignore[misc]
        loop.wait_for(lambda name=name: name in loop.children(), 60, f"{name} to run")  # type: ignore[misc]
        os.kill(loop.children()[name], signal.SIGKILL)
    mark = loop.sent()
    loop.wait_for(lambda: (loop.status().sent or 0) > mark + 3, 120, "outcomes after the last kill")


def wait_for_end(processes: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(runs(process) for process in processes):
        assert time.monotonic() < deadline, "a child outlives the killed launcher"
        time.sleep(0.1)


def test_what_workers_sent_is_what_is_stored(tmp_path: Path, started: list[RunningLoop]) -> None:
    for number in range(STARTS):
        loop = RunningLoop(tmp_path, **VARIABLES)
        started.append(loop)
        run_with_kills(loop)
        if number == 1:  # and the launcher itself: nothing may be left that writes into the data
            children = loop.children()
            loop.kill()
            wait_for_end(list(children.values()))
        else:
            loop.stop()
    last = RunningLoop(tmp_path, **{**VARIABLES, "WORKERS": "0"})
    started.append(last)
    last.wait_until_ready()
    last.wait_for(lambda: last.status().lag == 0, 120, "an empty queue")
    sent = last.sent()
    last.stop()
    ids = [name for folder in shard_folders(tmp_path / "data" / "shards") for name in ShardReader(folder).ids()]
    print(f"{STARTS} starts, {4 * STARTS} kills of children, 1 of the launcher: {sent} sent, {len(ids)} stored")
    assert len(set(ids)) == len(ids) == sent
    assert sent > 12 * STARTS
