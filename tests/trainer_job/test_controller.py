"""A candidate's way through offline gate and A/B test into service and out again, over a real queue and a real registry."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from block_world import block_outcome
from records import store

from grasp_client.contract import SceneRef, SceneRequest
from shared.registry import Registry, asks_candidate
from shared.settings import TrainerSettings
from shared.streams import SceneRequestStream, WorkerStatusStore, connect
from shared.streams.worker_status import STOPPED
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.data.sources import Sources
from trainer_job.evaluation.assessment import Assessment
from trainer_job.evaluation.metrics import Evaluation, log_losses
from trainer_job.promotion.ab_test import LOST_SECONDS
from trainer_job.promotion.controller import WORKERS_GONE_SECONDS, PromotionController
from trainer_job.promotion.evidence import KEY_BYTES, KEY_FILE, RequestSigner, ServiceRecord
from trainer_job.promotion.offline_gate import compare
from trainer_job.promotion.publish import Trained, publish, seed_registry
from trainer_job.service.scene_requests import SceneRequestIssuer
from trainer_job.tasks import task_of_model

TASK = task_of_model("dense")


class Bench:
    """Decisions with a registry, shards and a queue round them; `answer` plays the workers."""

    def __init__(self, url: str, folder: Path, max_ab_pairs: int = 0, trusted: str = "arm-3") -> None:
        self.registry = Registry(folder / "models")
        seed_registry(self.registry, folder / "none", TASK, seed=0)
        client = connect(url)
        self.requests, self.workers = SceneRequestStream(client), WorkerStatusStore(client)
        self.settings = TrainerSettings(max_ab_pairs=max_ab_pairs, outstanding_requests=16, trusted_sources=trusted)
        self.folder, self.shards = folder, folder / "shards"
        self.attempt, self.now = 0, 0.0
        (folder / KEY_FILE).write_bytes(bytes(KEY_BYTES))  # by which it is chosen who answers: the same in every run
        self.restart()

    def restart(self) -> None:
        self.dataset = OutcomeIndex(self.shards)
        signer = RequestSigner.of(self.folder)
        self.issuer = SceneRequestIssuer(self.requests, self.folder / "requests.json", self.settings, signer)
        service = ServiceRecord("dense", signer, self.issuer.request_of, Sources(self.settings.trusted_sources, 0.3))
        self.decisions = PromotionController(
            TASK, self.registry, threading.Lock(), self.dataset, self.requests, self.workers, service, signer, self.settings,
            clock=lambda: self.now,
        )  # fmt: skip

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
            scene = scene_of(self.issuer.collect_request(self.attempt))
            outcomes.append(
                block_outcome(self.attempt, success=success, scene=scene, model={"name": "dense", "version": version})
            )
        store(self.shards, outcomes)

    def report(self, rates: dict[int, float], count: int, **meta: object) -> None:
        """What robots report of `count` plans: the candidate answers its share of them; each version succeeds at its rate."""
        outcomes = []
        state = self.registry.ab_test("dense")
        champion = self.registry.champion("dense") or 0
        for _ in range(count):
            self.attempt += 1
            name = f"plan-{self.attempt}"
            version = state.candidate if state and asks_candidate(name, state.share, state.key) else champion
            success = bool(np.random.default_rng([self.attempt, 7]).random() < rates[version])
            made = {"model": {"name": "dense", "version": version}, "request_id": name, "served": True, "source": "arm-3"}
            outcomes.append(block_outcome(self.attempt, success=success, **{"scene": None, **made, **meta}))
        store(self.shards, outcomes)

    def answer(self, rates: dict[int, float]) -> int:
        """Runs the trials that wait; each version succeeds at its rate."""
        outcomes = []
        while taken := self.requests.take("w", block_ms=1):
            key, request = taken
            self.attempt += 1
            rng = np.random.default_rng(request.seed + (request.model_version or 0))
            scene = scene_of(request)
            model = {"name": "dense", "version": request.model_version}
            success = bool(rng.random() < rates[request.model_version or 0])
            outcomes.append(block_outcome(self.attempt, success=success, scene=scene, model=model))
            self.requests.done(key)
        if outcomes:
            store(self.shards, outcomes)
        return len(outcomes)

    def actions(self, version: int) -> list[str]:
        return [decision["action"] for decision in self.registry.card("dense", version).decisions]


def scene_of(request: SceneRequest) -> SceneRef:
    """As a worker writes it into an outcome."""
    fields = {name: getattr(request, name) for name in ("seed", "kind", "object_set", "profile", "vary", "nonce")}
    return SceneRef(ticket=request.id, **fields)


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
    assert card.simulated["protocol"] == "A/B test in simulation against version 1"


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
    assert sum(rate["attempts"] for rate in measured["by_kind"].values()) == 30
    assert "in service" in measured["protocol"]


def without_workers(bench: Bench) -> None:
    """The test begins, and nobody has taken its trials for a minute."""
    bench.turn()
    bench.now += WORKERS_GONE_SECONDS + 1
    bench.turn()


@pytest.mark.parametrize(("rate", "action"), [(0.85, "promoted"), (0.3, "rejected")])
def test_robots_alone_decide_by_the_grasps_that_were_served(redis_url: str, tmp_path: Path, rate: float, action: str) -> None:
    bench = Bench(redis_url, tmp_path, max_ab_pairs=200)
    bench.report({1: 0.6}, 40)
    version = bench.candidate()
    without_workers(bench)
    state = bench.registry.ab_test("dense")
    assert state is not None
    assert (state.how, state.share, state.champion, state.candidate, state.after) == ("served", 0.5, 1, version, 1)
    assert state.text.startswith(
        "A/B test on served grasps, version 2 against 1: 0 of at most 200 pairs, won 0, lost 0, needs 14 "
    )
    for turn in range(60):
        bench.report({1: 0.6, version: rate}, 12)
        if turn == 1:
            bench.restart()
        bench.turn()
        if bench.registry.candidate("dense") is None:
            break
        state = bench.registry.ab_test("dense")
        assert state is not None
        assert state.how == "served"
        assert state.text == bench.decisions.state
    assert bench.actions(version) == ["to be tested", action]
    assert bench.registry.champion("dense") == (version if action == "promoted" else 1)
    assert bench.registry.ab_test("dense") is None
    card = bench.registry.card("dense", version)
    assert "on served grasps" in card.decisions[1]["reason"]
    assert card.simulated is None
    assert card.robots is not None
    assert card.robots["protocol"] == "A/B test on served grasps against version 1"


def test_what_robots_of_unnamed_sources_report_decides_nothing(redis_url: str, tmp_path: Path) -> None:
    bench = Bench(redis_url, tmp_path, max_ab_pairs=200, trusted="arm-4")
    version = bench.candidate()
    without_workers(bench)
    for _ in range(10):
        bench.report({1: 0.0, version: 1.0}, 40)
        bench.report({1: 0.0, version: 1.0}, 40, source="arm-4", served=False)
        bench.report({1: 0.0, version: 1.0}, 40, source="arm-4", rank=1)
        bench.turn()
    assert bench.registry.candidate("dense") == version
    assert bench.decisions.state is not None
    assert "0 of at most 200 pairs" in bench.decisions.state
    assert "no simulation worker runs, and no trusted robot reports grasps of dense" in bench.decisions.state
    assert bench.registry.card("dense", 1).robots is None


def test_trials_that_all_workers_are_refused_wait_and_are_asked_for_again(redis_url: str, tmp_path: Path) -> None:
    bench = Bench(redis_url, tmp_path, max_ab_pairs=20)
    version = bench.candidate()
    bench.workers.report("old", {"state": STOPPED})
    bench.workers.report("cup", {"refused": {}})
    bench.turn()
    assert bench.requests.outstanding() == 16
    for _ in range(3):
        assert bench.requests.take("cup", block_ms=1)
    bench.workers.report("cup", {"refused": {"dense": "dense plans for a parallel_jaw gripper"}})
    for _ in range(5):  # however often
        bench.now += LOST_SECONDS
        bench.turn()
    assert bench.requests.outstanding() == 3, "those that it has taken; the others are taken back"
    assert "0 of at most 20 pairs" in (bench.decisions.state or "")
    assert "waits: the workers' requests are refused: dense plans for a parallel_jaw gripper" in (bench.decisions.state or "")
    assert bench.registry.candidate("dense") == version
    bench.workers.report("jaw", {"refused": {}})
    bench.turn()
    assert bench.requests.outstanding() == 16
    assert "waits" not in (bench.decisions.state or "")


def test_simulated_trials_decide_as_long_as_workers_run(redis_url: str, tmp_path: Path) -> None:
    bench = Bench(redis_url, tmp_path, max_ab_pairs=200)
    bench.report({1: 0.6}, 40)
    bench.candidate()
    bench.workers.report("w", {"attempts": 1})
    without_workers(bench)
    state = bench.registry.ab_test("dense")
    assert state is not None
    assert (state.how, state.share) == ("simulated", 0)
    assert bench.requests.outstanding() == 16
    bench.workers.client.delete(bench.workers.key)
    bench.report({1: 0.6}, 40)
    bench.turn()
    bench.now += WORKERS_GONE_SECONDS + 1
    bench.turn()
    state = bench.registry.ab_test("dense")
    assert state is not None
    assert (state.how, state.after) == ("served", 2)  # what the champion did before is no part of it
    bench.restart()
    bench.turn()
    assert bench.registry.ab_test("dense") == state
    bench.workers.report("w", {"attempts": 1})
    bench.turn()
    state = bench.registry.ab_test("dense")
    assert state is not None
    assert state.how == "simulated"


def test_a_champion_that_falls_with_robots_is_rolled_back(redis_url: str, tmp_path: Path) -> None:
    bench = Bench(redis_url, tmp_path)
    bench.report({1: 0.85}, 100)
    version = bench.candidate()
    bench.turn()
    assert bench.registry.champion("dense") == version
    bench.report({version: 0.0}, 60, source="somebody")
    bench.report({version: 0.0}, 60, served=False)
    bench.turn()
    assert bench.registry.champion("dense") == version
    bench.report({version: 0.4}, 60)
    bench.turn()
    assert bench.registry.champion("dense") == 1
    assert bench.actions(version) == ["promoted", "rolled back"]
    assert bench.registry.card("dense", version).decisions[-1]["reason"].endswith("before, on served grasps")


def test_outcomes_that_promoted_a_version_do_not_speak_for_it_again(redis_url: str, tmp_path: Path) -> None:
    bench = Bench(redis_url, tmp_path, max_ab_pairs=200)
    bench.report({1: 0.6}, 100)
    version = bench.candidate()
    without_workers(bench)
    while bench.registry.candidate("dense") is not None:
        bench.report({1: 0.6, version: 0.95}, 12)
        bench.turn()
    bench.report({version: 0.1}, 49)
    bench.turn()
    assert bench.registry.champion("dense") == version
    bench.report({version: 0.1}, 1)
    bench.turn()
    assert bench.registry.champion("dense") == 1


def test_a_forged_simulation_moves_no_champion(redis_url: str, tmp_path: Path) -> None:
    """Thirty reports under the names of trials promoted a candidate; a hundred of collected scenes rolled a champion back."""
    bench = Bench(redis_url, tmp_path, max_ab_pairs=200)
    version = bench.candidate()
    bench.turn()
    forged = []
    for pair in range(40):
        for arm, made_by in (("champion", 1), ("candidate", version)):
            scene = SceneRef(seed=pair, ticket=f"judge-dense-{version}-{pair}-{arm}", nonce="0" * 32)
            model = {"name": "dense", "version": made_by}
            forged.append(block_outcome(pair, made_by, success=made_by == version, scene=scene, model=model))
            scene = SceneRef(seed=pair, ticket=f"collect-{pair}")
            forged.append(block_outcome(1000 + pair, made_by, success=made_by != 1, scene=scene, model=model))
    store(bench.shards, forged)
    bench.turn()
    assert bench.registry.candidate("dense") == version
    assert (bench.registry.card("dense", 1).simulated, bench.registry.card("dense", version).simulated) == (None, None)


def test_a_champions_card_tells_robots_and_simulation_apart(redis_url: str, tmp_path: Path) -> None:
    bench = Bench(redis_url, tmp_path)
    bench.serve(1, successes=20, failures=5)
    bench.report({1: 0.0}, 30)
    bench.turn()
    card = bench.registry.card("dense", 1)
    assert card.simulated is not None
    assert card.robots is not None
    assert (card.simulated["attempts"], card.simulated["successes"]) == (25, 20)
    assert (card.robots["attempts"], card.robots["successes"]) == (30, 0)
    assert card.robots["by_source"]["arm-3"]["attempts"] == 30
