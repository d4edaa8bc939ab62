"""The benchmark of attacks: what it calls a promise kept, and the whole command with tiny numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.hostile.__main__ import holds
from benchmarks.hostile.attacks import EARLY, NAMES, wrong_options

KEPT = {"p99_ms": 290.0, "p99_without_ms": 100.0, "failed": 0, "slowest_live_ms": 199.0}


@pytest.mark.parametrize(
    "broken",
    [{"p99_ms": 310.0}, {"failed": 1}, {"slowest_live_ms": 200.0}, {"slowest_live_ms": float("inf")}, {"p99_ms": float("nan")}],
)
def test_a_promise_is_kept_or_broken(broken: dict[str, float]) -> None:
    assert holds({"one": KEPT, "other": KEPT})
    assert not holds({"one": KEPT, "other": {**KEPT, **broken}})


def test_requests_are_whole() -> None:
    for request in wrong_options():
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
    head, _, body = EARLY.partition(b"\r\n\r\n")
    assert b"Content-Length: 1000" in head
    assert body == b""


@pytest.mark.slow
def test_the_whole_command(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    chosen = ["half_dead", "wrong_options"]
    command = ["-m", "benchmarks.hostile", "--seconds", "1", "--attacks", json.dumps(chosen), "--json-file", str(figures)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: the machine is too busy to say anything of time
    found = json.loads(figures.read_text())
    assert list(found) == chosen
    assert set(chosen) < set(NAMES)
    for each in found.values():
        assert each["failed"] == 0
        assert each["attack"]
