"""The serving benchmark: its arithmetic, and the whole command with tiny numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from benchmarks.serving.load import Load, Reply, post
from benchmarks.serving.watch import batch_histogram, cpu_seconds, family, resident_mb, series

METRICS = """# HELP grasp_batch_size requests planned together
grasp_batch_size_bucket{le="1.0"} 3.0
grasp_batch_size_bucket{le="2.0"} 5.0
grasp_batch_size_bucket{le="4.0"} 5.0
grasp_batch_size_bucket{le="+Inf"} 6.0
grasp_queue_depth 2.0
"""


def test_a_load_is_summed_up_by_status() -> None:
    load = Load(2.0, [Reply(0.0, milliseconds / 1e3, 200) for milliseconds in range(1, 101)] + [Reply(0.0, 0.001, 429)])
    summary = load.everything()
    assert (summary["n"], summary["per_second"], summary["most"]) == (100, 50.0, 100.0)
    assert summary["p50"] == pytest.approx(50.5)
    assert summary["p99"] == pytest.approx(99.01)
    assert summary["statuses"] == {"200": 100, "429": 1}
    assert load.summary(503) == {"n": 0, "per_second": 0.0}


def test_batches_are_counted_between_two_looks() -> None:
    after = series(METRICS)
    assert after["grasp_queue_depth"] == 2.0
    assert batch_histogram({}, after) == {"1": 3, "2": 2, "more": 1}
    assert batch_histogram(after, after) == {}


def test_a_request_says_how_long_it_is() -> None:
    assert post("/x", b"abc", {"A": "b"}) == b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nA: b\r\n\r\nabc"


def test_a_process_is_watched_with_its_children() -> None:
    child = subprocess.Popen([sys.executable, "-c", "sum(range(10**7)); input()"], stdin=subprocess.PIPE)
    try:
        assert child.pid in family(os.getpid())
        assert cpu_seconds(os.getpid()) >= cpu_seconds(child.pid) >= 0
        wait_until(lambda: resident_mb(child.pid) > 1)  # a process that has just been started has none yet
    finally:
        child.communicate()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_benchmark_with_tiny_numbers(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    tiny = ["--servers", '["grasploop","plain"]', "--clients", "[1,8]", "--rates", "[20]", "--seconds", "0.5", "--reloads", "3"]
    command = [sys.executable, "-m", "benchmarks.serving", *tiny, "--fleet", "20", "--flood", "4", "--json-file", str(figures)]
    done = subprocess.run(
        [*command, "--plot", str(tmp_path / "plot.png")], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())
    for server in ("grasploop", "plain"):
        for row in (*found["closed"][server].values(), *found["open"][server].values()):
            assert row["n"] > 0
            assert set(row["statuses"]) == {"200"}
    assert found["overhead"]["grasploop dense"]["n"] > 0
    assert sum(found["closed"]["grasploop"]["8"]["batches"].values()) > 0
    assert found["reload"]["gpu_like"]["busy"]["statuses"].keys() == {"200"}
    for row in found["reload"].values():
        assert set(row["refused"]) == {"corrupt", "wrong shape", "NaN"}
        assert row["refusing"]["statuses"].keys() == {"200"}
    assert found["flood"]["dense"]["accepted"]["n"] > 0
    assert found["fleet"]["160x120"]["fairness"] > 0.5
    assert found["memory"]["samples"]
    assert (tmp_path / "plot.png").stat().st_size > 10_000
