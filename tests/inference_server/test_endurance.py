"""Minutes under load: many reloads without a failed request, and memory that stays flat (SOAK_SECONDS=600 for ten minutes)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from serving import DEPTH, Running, publish_dense, serving, settings
from waiting import wait_until

from inference_server.models.weights import PINNED_VERSIONS
from inference_server.outcomes.recent_plans import RecentPlans
from shared.registry import Registry

RELOADS = 50
VERSIONS = PINNED_VERSIONS + 3  # none is still in memory when its turn comes again: every reload reads a file
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
SMALL = np.ascontiguousarray(DEPTH[60:180, 80:240])
OPTIONS = {"camera": {"fx": 300.0, "fy": 300.0, "cx": 79.5, "cy": 59.5}, "planner": "dense"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@contextmanager
def load(running: Running, clients: int) -> Iterator[list[tuple[int, float]]]:
    """Clients that ask without a pause while the block runs; (status, seconds) of every request."""
    answers: list[tuple[int, float]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            started = time.monotonic()
            answers.append((running.raw(SMALL, OPTIONS).status_code, time.monotonic() - started))

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_no_request_fails_over_many_reloads(tmp_path: Path) -> None:
    for seed in range(VERSIONS):
        publish_dense(tmp_path, seed)
    registry = Registry(tmp_path)
    with serving(settings(tmp_path, reload_seconds=0.02)) as running:
        with load(running, 3) as calm:
            time.sleep(5)
        with load(running, 3) as answers:
            for reload in range(RELOADS):
                version = reload % VERSIONS + 1
                registry.promote("dense", version)
                wait_until(lambda version=version: running.service.weights.versions()["dense"] == version, 60)
    assert {status for status, _ in answers} == {200}
    tails = [np.percentile([seconds for _, seconds in each], 99) * 1e3 for each in (calm, answers)]
    print(
        f"{RELOADS} reloads, {len(answers)} requests, none failed; p99 {tails[0]:.0f} ms calm, {tails[1]:.0f} ms with reloads"
    )


def test_memory_stays_flat(tmp_path: Path) -> None:
    publish_dense(tmp_path, 0)
    with serving(settings(tmp_path)) as running:
        running.service.planning.recent = RecentPlans(most_bytes=2**20)  # full after a few plans: what is left must not grow
        memory = running.service.metrics.registry.get_sample_value
        with load(running, 2) as answers:
            time.sleep(SOAK_SECONDS / 4)
            before = memory("process_resident_memory_bytes") or 0.0
            time.sleep(SOAK_SECONDS * 3 / 4)
            after = memory("process_resident_memory_bytes") or 0.0
    assert {status for status, _ in answers} == {200}
    print(f"{len(answers)} requests in {SOAK_SECONDS:.0f} s: {before / 2**20:.0f} MiB, later {after / 2**20:.0f} MiB")
    assert after < before * 1.05
