"""Grasps that the whole loop of a tree attempts per second: queue, server, worker and trainer as `make run` starts them."""

from __future__ import annotations

import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

from benchmarks.compare.processes import python
from benchmarks.compare.trees import Tree

OUTCOMES = "grasp:outcomes"
"""The stream of the contract; it counts all that was ever added, also what was trimmed."""
FIRST_SECONDS = 240.0
"""Longest wait for the first attempt: the server loads and warms, the worker settles its first scene."""
NEVER = 10**9


def attempts_per_second(tree: Tree, seconds: float, workers: int) -> float:
    """Outcomes per second over at least `seconds`, and one more outcome, from the first on; no training round falls into them.

    Scenes, tickets and explorations are seeded, so every run begins with the same ones.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"port": 0, "workers": workers, "data_dir": folder / "data", "seed": 0, "device": "cpu"}
        # Trees differ in what they run by default; a scene of one object is the same in all.
        settings |= {"scene_kind": "single", "profile": "standard", "vary": "nothing"}
        with python(tree, ["-m", "services.local"], folder, **settings, outcomes_per_round=NEVER) as loop:
            url = loop.wait_for(lambda: re.search(r"(redis|unix)://[^\s,]+", loop.said()), FIRST_SECONDS)[0]  # type: ignore[index]
            with redis.Redis.from_url(url) as client:
                begun = loop.wait_for(lambda: _added(client), FIRST_SECONDS)
                started = time.monotonic()
                time.sleep(seconds)
                more = loop.wait_for(lambda: _added(client) - begun, FIRST_SECONDS)
                return more / (time.monotonic() - started)


def _added(client: redis.Redis) -> int:
    """Outcomes ever added to the stream; 0 while there is none, or no queue yet."""
    try:
        return int(client.xinfo_stream(OUTCOMES)["entries-added"])
    except (redis.ConnectionError, redis.ResponseError):
        return 0
