"""A candidate's way through offline gate and A/B test into service and out again, over a real queue and a real registry."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from block_world import block_outcome
from records import store

from grasp_client.contract import SceneRef
from shared.registry import Registry
from shared.settings import TrainerSettings
from shared.streams import SceneRequestStream, connect
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.evaluation.assessment import Assessment
from trainer_job.evaluation.metrics import Evaluation, log_losses
from trainer_job.promotion.controller import PromotionController
from trainer_job.promotion.offline_gate import compare
from trainer_job.promotion.publish import Trained, publish, seed_registry
from trainer_job.tasks import task_of_model

TASK = task_of_model("dense")


class Bench:
    """Decisions with a registry, shards and a queue round them; `answer` plays the workers."""

    def __init__(self, url: str, folder: Path, max_ab_pairs: int = 0) -> None:
        self.registry = Registry(folder / "models")
        seed_registry(self.registry, folder / "none", TASK, seed=0)
        self.requests = SceneRequestStream(connect(url))
        self.settings = TrainerSettings(max_ab_pairs=max_ab_pairs, outstanding_requests=16)
        self.shards = folder / "shards"
        self.attempt = 0
        self.restart()

    def restart(self) -> None:
        self.dataset = OutcomeIndex(self.shards)
        self.decisions = PromotionController(TASK, self.registry, threading.Lock(), self.dataset, self.requests, self.settings)

    def turn(self) -> None:
        self.dataset.refresh()
        self.decisions.turn()

    def candidate(self, skill: float = 3.0) -> int:
        labels = np.tile([1.0, 0.0], 50)
        logits = skill * (2 * labels - 1)
        rival, found = (Evaluation(log_losses(labels, each), labels, each) for each in (0 * logits, logits))
        assessment = Assessment(found, rival, compare(rival, found))
        parent = self.registry.champion("dense")
        return publish(self.registry, Trained(TASK.build(), TASK, parent, assessment, {"total": 1}, 0, {}))

    def serve(self, version: int, successes: int, failures: int) -> None:
        """Attempts of a version in scenes to collect in."""
        outcomes = []
        for success in [True] * successes + [False] * failures:
            self.attempt += 1
            scene = SceneRef(seed=self.attempt, ticket=f"collect-{self.attempt}")
            outcomes.append(
                block_outcome(self.attempt, success=success, scene=scene, model={"name": "dense", "version": version})
            )
        store(self.shards, outcomes)

    def answer(self, rates: dict[int, float]) -> int:
        """Runs the trials that wait; each version succeeds at its rate."""
        outcomes = []
        while taken := self.requests.take("w", block_ms=1):
            key, request = taken
            self.attempt += 1
            rng = np.random.default_rng(request.seed + (request.model_version or 0))
            scene = SceneRef(seed=request.seed, kind=request.kind, object_set=request.object_set, ticket=request.id)
            model = {"name": "dense", "version": request.model_version}
            success = bool(rng.random() < rates[request.model_version or 0])
            outcomes.append(block_outcome(self.attempt, success=success, scene=scene, model=model))
            self.requests.done(key)
        if outcomes:
            store(self.shards, outcomes)
        return len(outcomes)

    def actions(self, version: int) -> list[str]:
        return [decision["action"] for decision in self.registry.card("dense", version).decisions]


def test_without_ab_tests_the_offline_gate_decides(redis_url: str, tmp_path: Path) -> None:
    bench = Bench(redis_url, tmp_path)
    good, bad = bench.candidate(3.0), bench.candidate(-3.0)
    bench.turn()
    assert bench.registry.champion("dense") == good
    assert (bench.actions(good), bench.actions(bad)) == (["promoted"], ["rejected"])


@pytest.mark.parametrize(("rate", "action"), [(0.95, "promoted"), (0.3, "rejected")])
def test_a_tested_candidate_is_promoted_only_when_better(redis_url: str, tmp_path: Path, rate: float, action: str) -> None:
    bench = Bench(redis_url, tmp_path, max_ab_pairs=200)
    version = bench.candidate()
    bench.turn()
    assert (bench.registry.champion("dense"), bench.registry.candidate("dense")) == (1, version)
    for turn in range(60):
        bench.answer({1: 0.6, version: rate})
        if turn == 1:
            bench.restart()
        bench.turn()
        if bench.registry.candidate("dense") is None:
            break
    assert bench.actions(version) == ["to be tested", action]
    assert bench.registry.champion("dense") == (version if action == "promoted" else 1)
    card = bench.registry.card("dense", version)
    assert card.decisions[1]["trial"]["candidate"]["rate"] == pytest.approx(rate, abs=0.2)
    assert card.simulated is not None
    assert card.simulated["protocol"] == "A/B test against version 1"


def test_a_candidate_that_the_gate_refuses_goes_into_no_ab_test(redis_url: str, tmp_path: Path) -> None:
    bench = Bench(redis_url, tmp_path, max_ab_pairs=200)
    bench.candidate(-3.0)
    bench.turn()
    assert bench.registry.candidate("dense") is None
    assert bench.requests.outstanding() == 0


def test_without_its_judge_a_waiting_candidate_goes_by_the_gate(redis_url: str, tmp_path: Path) -> None:
    bench = Bench(redis_url, tmp_path, max_ab_pairs=200)
    version = bench.candidate()
    bench.turn()
    bench.settings = TrainerSettings(max_ab_pairs=0)
    bench.restart()
    bench.turn()
    assert bench.registry.champion("dense") == version
    assert bench.actions(version) == ["to be tested", "promoted"]


def test_a_champion_that_falls_is_rolled_back_once(redis_url: str, tmp_path: Path) -> None:
    bench = Bench(redis_url, tmp_path)
    bench.serve(1, successes=85, failures=15)
    version = bench.candidate()
    bench.turn()
    assert bench.registry.champion("dense") == version
    bench.serve(version, successes=20, failures=40)
    bench.turn()
    assert bench.registry.champion("dense") == 1
    assert bench.actions(version) == ["promoted", "rolled back"]
    assert bench.actions(1) == ["rolled back to"]
    bench.serve(1, successes=0, failures=60)
    bench.turn()
    assert bench.registry.champion("dense") == 1


def test_a_champion_that_holds_stays(redis_url: str, tmp_path: Path) -> None:
    bench = Bench(redis_url, tmp_path)
    bench.serve(1, successes=85, failures=15)
    version = bench.candidate()
    bench.turn()
    bench.serve(version, successes=90, failures=20)
    bench.turn()
    assert bench.registry.champion("dense") == version


def test_a_champions_card_tells_how_it_does_in_service(redis_url: str, tmp_path: Path) -> None:
    bench = Bench(redis_url, tmp_path)
    bench.serve(1, successes=5, failures=5)
    bench.turn()
    assert bench.registry.card("dense", 1).simulated is None
    bench.serve(1, successes=15, failures=5)
    bench.turn()
    measured = bench.registry.card("dense", 1).simulated
    assert measured is not None
    assert (measured["attempts"], measured["rate"]) == (30, pytest.approx(2 / 3))
    assert measured["expected"] == 0
    assert measured["by_kind"]["single"]["attempts"] == 30
    assert "in service" in measured["protocol"]
