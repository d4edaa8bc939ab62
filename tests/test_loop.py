"""The loop end to end, with tiny numbers: real queue, server, worker and trainer, started by the real launcher."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from running_loop import RunningLoop
from waiting import PATIENCE

from grasp_client import GraspClient
from grasp_client.contract import GraspPlan
from shared.networks.cell_critic import CellCritic
from shared.registry import Registry
from shared.shards import ShardReader, shard_folders
from trainer_job.promotion.publish import load_network

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.skipif(sys.platform != "linux", reason="finds the launcher's children in /proc"),
]
TINY = {
    "WORKERS": "1", "OUTCOMES_PER_ROUND": "16", "SHARD_OUTCOMES": "8", "SHARD_SECONDS": "1", "EPOCHS": "1", "MIN_STEPS": "20",
    "RELOAD_SECONDS": "0.5", "SCENE_KIND": "single", "PROFILE": "standard", "VARY": "nothing",
}  # fmt: skip
CAMERA = {"fx": 300.0, "fy": 300.0, "cx": 160.0, "cy": 120.0}


@pytest.fixture
def started() -> Iterator[list[RunningLoop]]:
    loops: list[RunningLoop] = []
    yield loops
    for loop in loops:
        loop.kill()


def box_on_a_table() -> np.ndarray:
    """(240, 320) float32 metres: a 4 x 12 cm box, 5 cm high, on a table 0.7 m below the camera."""
    depth = np.full((240, 320), 0.7, np.float32)
    depth[92:148, 151:170] = 0.65
    return depth


def stored_ids(data: Path) -> list[str]:
    return [name for folder in shard_folders(data / "shards") for name in ShardReader(folder).ids()]


def ask(url: str, planner: str = "dense") -> GraspPlan:
    with GraspClient(url, deadline=PATIENCE) as client:
        return client.predict_grasp(depth=box_on_a_table(), camera=CAMERA, planner=planner)


def test_the_loop_turns_stops_and_goes_on(tmp_path: Path, started: list[RunningLoop]) -> None:
    loop = RunningLoop(tmp_path, **TINY)
    started.append(loop)
    loop.wait_until_ready()
    registry = Registry(tmp_path / "data" / "models")
    loop.wait_for(lambda: registry.champion("dense"), "a first champion")
    first = ask(loop.url)
    assert first.grasps
    assert first.model is not None

    loop.wait_for(lambda: len(registry.versions("dense")) >= 2, "a second version")
    newest = registry.versions("dense")[-1]
    card = registry.card("dense", newest)
    assert card.parent == 1
    assert card.outcomes["count"] > 0
    if registry.champion("dense") != newest:  # so few outcomes need not make it better: promote it by hand
        assert httpx.post(f"{loop.url}/models/dense/promote", params={"version": newest}).status_code == 200
    loop.wait_for(lambda: (ask(loop.url).model or first.model) != first.model, "the new version in replies")
    loop.stop()

    before = stored_ids(tmp_path / "data")
    again = RunningLoop(tmp_path, **TINY)
    started.append(again)
    again.wait_until_ready()
    served = ask(again.url).model
    assert served is not None
    assert served.version >= 2
    again.wait_for(lambda: len(stored_ids(tmp_path / "data")) > len(before), "outcomes of the second run")
    again.stop()
    after = stored_ids(tmp_path / "data")
    assert after[: len(before)] == before
    assert len(set(after)) == len(after)


@pytest.mark.slow
def test_a_cell_that_is_off_is_corrected_while_the_loop_runs(tmp_path: Path, started: list[RunningLoop]) -> None:
    """Workers explore by offsets, a round fits the critic, it wins against the untaught one, and the server answers by it."""
    off = np.array([0.010, -0.008, 0.006])
    cell = {"MODEL": "refine", "CELL_ERROR": ",".join(map(str, [*off, 0, 0, 0.07])), "OUTCOMES_PER_ROUND": "120"}
    scenes = {"WORKERS": "1", "SCENE_KIND": "single", "PROFILE": "standard", "VARY": "nothing", "RELOAD_SECONDS": "0.5"}
    loop = RunningLoop(tmp_path, **cell, **scenes)
    started.append(loop)
    loop.wait_until_ready()
    registry = Registry(tmp_path / "data" / "models")
    loop.wait_for(lambda: (registry.champion("refine") or 0) >= 2, "a critic that won", seconds=900)
    version = registry.champion("refine") or 0

    def last_decision() -> dict[str, Any]:
        return registry.card("refine", version).decisions[-1]

    loop.wait_for(lambda: last_decision()["action"] == "promoted", "the decision, which is written after the pointer")
    assert last_decision()["trial"]["champion_version"] == 1
    critic = load_network(registry, "refine", version)
    assert isinstance(critic, CellCritic)
    told = critic.movements()[0].detach().numpy()
    assert np.linalg.norm(told - off) < 0.6 * np.linalg.norm(off)
    loop.wait_for(lambda: getattr(ask(loop.url, "refined").model, "version", 0) >= version, "the critic in replies")
    loop.stop()
