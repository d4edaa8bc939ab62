"""The load of many workers is a worker's, and what is said of it adds up."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from records import read_outcomes

from benchmarks.compare.trees import revision
from benchmarks.scale.__main__ import Settings, main
from benchmarks.scale.fleet import FleetPlan, run_fleet
from benchmarks.scale.hosts import NAMESPACES, network
from benchmarks.scale.labels import made
from benchmarks.scale.parts import SPAWN
from grasp_client.contract import SceneRequest
from shared.streams import OutcomeStream, SceneRequestStream, WorkerStatusStore, connect

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
"""60 minutes: SOAK_SECONDS=3600 pytest -m slow tests/benchmarks/test_scale.py"""


def test_a_fleet_says_what_workers_say(redis_url: str, tmp_path: Path) -> None:
    client = connect(redis_url)
    requests = SceneRequestStream(client)
    requests.issue(SceneRequest(id="one", seed=1))
    plan = FleetPlan(redis_url, tmp_path, workers=3, scenes_per_second=20.0)
    run_fleet(plan, made(2, attempts=4, side=24), SPAWN.Value("d", time.time() + 0.4), 0, SPAWN.Value("d", 0.0))
    outcomes, sent = read_outcomes(OutcomeStream(client)), OutcomeStream(client).sent()
    assert len({outcome.id for outcome in outcomes}) == len(outcomes) == sum(sent.values()) > 0
    assert len(outcomes) % 4 == 0
    assert requests.outstanding() == 0
    assert set(WorkerStatusStore(client).read()) <= {f"{name}" for name in sent}
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def hosts_allowed() -> None:
    """Skips the test where this machine makes no hosts."""
    try:
        with network(1):
            pass
    except SystemExit as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_hosts_go_though_a_process_is_still_in_one(hosts_allowed: None) -> None:
    with ExitStack() as inside:
        with network(1) as hosts:
            inside.enter_context(open(NAMESPACES / hosts[0]))
        with network(1) as again:
            assert again == hosts


@pytest.mark.slow
def test_workers_of_several_hosts_are_stored_once(hosts_allowed: None, tmp_path: Path) -> None:
    report, load = tmp_path / "report.json", {"workers": 4, "seconds": 2.0, "attempts": 4, "side": 32, "planned": 0.5}
    assert main(Settings(hosts=2, scenes_per_second=8.0, out=report, **load)) == 0  # type: ignore[arg-type]
    told = json.loads(report.read_text())
    assert told["hosts"] == 2
    assert told["sent"] >= 4 * 4
    with network(1) as hosts:  # what was made for the run is gone
        assert (NAMESPACES / hosts[0]).exists()


FIRST = "e261ce5"
"""A commit of version 0.1.0."""


@pytest.mark.slow
def test_two_commits_carry_the_same_load_in_turn(tmp_path: Path) -> None:
    try:
        revision(FIRST)
    except ValueError as error:
        pytest.skip(f"a shallow clone: {error}")
    report, load = tmp_path / "report.json", {"workers": 2, "seconds": 1.0, "attempts": 4, "side": 32}
    assert main(Settings(base=FIRST, turns=1, out=report, **load)) == 0  # type: ignore[arg-type]
    told = json.loads(report.read_text())
    assert all(told["turns"][name][0]["stored"] >= 8 for name in ("base", "head"))
    assert all(told["turns"][name][0]["worker_ms"] > 0 for name in ("base", "head"))
    assert told["ratios"] == [told["turns"]["head"][0]["stored_per_second"] / told["turns"]["base"][0]["stored_per_second"]]


@pytest.mark.slow
@pytest.mark.timeout(600 + 2 * SOAK_SECONDS)
def test_a_soak_with_kills_loses_and_repeats_nothing(tmp_path: Path) -> None:
    kills = round(SOAK_SECONDS / 8)
    load = {"workers": 100, "scenes_per_second": 4.0, "ingest": 2, "planned": 0.1, "side": 120}
    report = tmp_path / "report.json"
    assert main(Settings(seconds=SOAK_SECONDS, kills=kills, out=report, **load)) == 0  # type: ignore[arg-type]
    assert json.loads(report.read_text())["sent"] > 4 * SOAK_SECONDS, "too few to tell: 128 a second are offered"
