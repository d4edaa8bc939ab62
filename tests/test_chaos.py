"""Every outcome is counted once, whatever is killed.

CHAOS_KILLS=100 pytest -m slow -s tests/test_chaos.py     # so many kill -9 of children; the default is a tenth of it
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_loop import RunningLoop, runs

from shared.registry import Registry
from shared.shards import ShardReader, shard_folders
from shared.streams import connect

KILLS = int(os.environ.get("CHAOS_KILLS", "12"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600 + 12 * KILLS),
    pytest.mark.skipif(sys.platform != "linux", reason="finds the launcher's children in /proc"),
]
CHILDREN = ("queue", "inference_server", "sim_worker", "trainer_job")
ROUNDS_PER_START = 5
"""Kills of each child between two starts: the launcher makes a child that dies young wait longer each time."""
OUT_SECONDS, FULL_SECONDS = 60.0, 15.0
VARIABLES = {
    "WORKERS": "1", "OUTCOMES_PER_ROUND": "60", "SHARD_OUTCOMES": "8", "SHARD_SECONDS": "1", "EPOCHS": "1",
    "MAX_AB_PAIRS": "20",
}  # fmt: skip


@pytest.fixture
def started() -> Iterator[list[RunningLoop]]:
    loops: list[RunningLoop] = []
    yield loops
    for loop in loops:
        loop.kill()


class RegistryReader(threading.Thread):
    """Reads the champion with its weights all the time, as a server does; keeps what went wrong."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(daemon=True)
        self.registry, self.reads, self.failures, self.done = registry, 0, list[str](), threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.2):
            if (champion := self.registry.champion("dense")) is None:
                continue  # not filled yet
            try:
                self.registry.read_weights("dense", champion)
                self.reads += 1
            except Exception as error:
                self.failures.append(repr(error))

    def finish(self) -> None:
        self.done.set()
        self.join()


def wait_for_more(loop: RunningLoop, what: str, seconds: float = 180) -> None:
    mark = loop.sent()
    loop.wait_for(lambda: (loop.status().sent or 0) > mark + 3, what, seconds)


def run_with_kills(loop: RunningLoop, rounds: int, chance: random.Random) -> Counter[str]:
    """Kill -9 every child `rounds` times at random moments, in random order; then the loop must get going again by itself."""
    killed: Counter[str] = Counter()
    loop.wait_until_ready()
    wait_for_more(loop, "outcomes before the first kill")
    order = [name for _ in range(rounds) for name in chance.sample(CHILDREN, len(CHILDREN))]
    for name in order:
        loop.wait_for(lambda name=name: name in loop.children(), f"{name} to run")  # type: ignore[misc]
        time.sleep(chance.uniform(0.0, 2.5))
        if child := loop.children().get(name):
            os.kill(child, signal.SIGKILL)
            killed[name] += 1
    wait_for_more(loop, "outcomes after the last kill")
    return killed


def run_without_queue(loop: RunningLoop) -> tuple[int, int]:
    """A queue that is full, and one that answers nothing for a minute; what was accepted before and after."""
    loop.wait_until_ready()
    wait_for_more(loop, "outcomes before the queue is full")
    client, before = connect(loop.redis_url), loop.sent()
    client.config_set("maxmemory", "1mb")
    time.sleep(FULL_SECONDS)
    client.config_set("maxmemory", "1gb")
    wait_for_more(loop, "outcomes after the queue was full")
    queue = loop.children()["queue"]
    os.kill(queue, signal.SIGSTOP)
    time.sleep(OUT_SECONDS)
    os.kill(queue, signal.SIGCONT)
    wait_for_more(loop, "outcomes after the queue was out")
    return before, loop.sent()


def wait_for_end(processes: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(runs(process) for process in processes):
        assert time.monotonic() < deadline, "a child outlives the killed launcher"
        time.sleep(0.1)


def test_what_workers_sent_is_what_is_stored(tmp_path: Path, started: list[RunningLoop]) -> None:
    chance, killed, launchers, begun = random.Random(0), Counter[str](), 0, time.monotonic()
    reader = RegistryReader(Registry(tmp_path / "data" / "models"))
    reader.start()
    while killed.total() < KILLS:
        loop = RunningLoop(tmp_path, **VARIABLES)
        started.append(loop)
        left = -(-(KILLS - killed.total()) // len(CHILDREN))
        killed += run_with_kills(loop, min(left, ROUNDS_PER_START), chance)
        if launchers % 2 == 0:  # and the launcher itself: nothing may be left that writes into the data
            children = loop.children()
            loop.kill()
            wait_for_end(list(children.values()))
        else:
            loop.stop()
        launchers += 1
    loop = RunningLoop(tmp_path, **VARIABLES)
    started.append(loop)
    before, after = run_without_queue(loop)
    loop.stop()
    last = RunningLoop(tmp_path, **{**VARIABLES, "WORKERS": "0"})
    started.append(last)
    last.wait_until_ready()
    last.wait_for(lambda: last.status().lag == 0, "an empty queue")
    sent = last.sent()
    dead = [fields[b"reason"].decode() for _, fields in connect(last.redis_url).xrange("grasp:outcomes:dead")]
    last.stop()
    reader.finish()
    ids = [name for folder in shard_folders(tmp_path / "data" / "shards") for name in ShardReader(folder).ids()]
    print(
        f"{killed.total()} kills of children {dict(killed)}, {-(-launchers // 2)} of the launcher, in "
        f"{time.monotonic() - begun:.0f} s: {sent} sent, {len(ids)} stored, {len(set(ids))} distinct; "
        f"{before} before and {after} after the queue was full and out; dead letters {dead}; "
        f"{reader.reads} reads of the registry, {len(reader.failures)} failed; versions {reader.registry.versions('dense')}"
    )
    assert len(set(ids)) == len(ids) == sent
    assert sent > 3 * launchers
    assert reader.reads > 0
    assert reader.failures == []
