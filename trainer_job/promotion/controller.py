"""What becomes of each version: offline gate, A/B test, service, and out of it again when it does badly."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np

from grasp_client.contract import PushMeta
from shared.rates import rate_with_interval
from shared.registry import AbTestState, Registry
from shared.settings import TrainerSettings
from shared.streams import SceneRequestStream, WorkerStatusStore
from shared.streams.scene_mix import GOAL_KINDS, SceneMix
from trainer_job.data.outcome_index import AB_TEST_PREFIX, IndexEntry, OutcomeIndex
from trainer_job.data.sources import readable
from trainer_job.promotion.ab_test import AbTest, rule
from trainer_job.promotion.episode_test import EpisodeTest
from trainer_job.promotion.evidence import RequestSigner, ServiceRecord
from trainer_job.promotion.publish import is_trained, offline_decision, pending_versions, promote, reject
from trainer_job.promotion.rollback_monitor import next_look
from trainer_job.promotion.served_ab_test import SHARE, ServedAbTest
from trainer_job.tasks import AnyTask

log = logging.getLogger(__name__)

MEASURE_EVERY = 20
"""Attempts in service after which a champion's card is brought up to date: success with its interval, and as `expected` the
mean quality that was promised for the same grasps (the best of many is easily promised too much)."""
SIMULATED = "in service: best grasp of each plan in scenes that the trainer asked for to collect, strict contact rule"
SERVED = "in service: best grasp of each plan, as robots of trusted sources report it"
WORKERS_GONE_SECONDS = 60.0
"""Simulated trials decide until no worker has been heard of for so long."""


class PromotionController:
    """Decides on versions of one model. All it goes by is stored, so that a restart decides the same.

    lock: held while pointers of the registry move. workers: what simulation workers say of themselves. service: how versions do
    in service.
    """

    def __init__(
        self,
        task: AnyTask,
        registry: Registry,
        lock: threading.Lock,
        dataset: OutcomeIndex,
        requests: SceneRequestStream,
        workers: WorkerStatusStore,
        service: ServiceRecord,
        signer: RequestSigner,
        settings: TrainerSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.task, self.registry, self.lock = task, registry, lock
        self.model = task.recipe.name
        self.dataset, self.requests, self.workers, self.settings = dataset, requests, workers, settings
        self.service, self.signer, self.clock = service, signer, clock
        self.trial: AbTest | ServedAbTest | None = None
        self._seen = self._after = 0
        self._measured: dict[tuple[str, int], int] = {}
        self._workers_at = clock()
        self._refusal = ""
        """Why no worker gets plans for the simulated trials."""

    def turn(self) -> None:
        """One look at what is new. Raises redis.RedisError when the queue is away and OSError when the disk refuses."""
        for version in pending_versions(self.registry, self.model):
            self.decide(version)
        new, self._seen = self.dataset.since(self._seen), self.dataset.end
        self.service.learn(new)
        self._resume()
        if self.trial:
            self._continue(self.trial, new)
        if new:
            self._measure()
            self._roll_back_if_worse()

    @property
    def state(self) -> str | None:
        """How far the A/B test is, for people; None without one."""
        if isinstance(self.trial, AbTest) and self._without_workers():
            return f"{self.trial.text()}; waits: no simulation worker runs, and no trusted robot reports grasps of {self.model}"
        if isinstance(self.trial, AbTest) and self._refusal:
            return f"{self.trial.text()}; waits: the workers' requests are refused: {self._refusal}"
        return self.trial.text() if self.trial else None

    def decided_after(self) -> float:
        """Number of the newest shard whose outcomes do not count in the A/B test under way."""
        return self._after if self.trial else float("inf")

    def decide(self, version: int) -> None:
        """The offline gate's decision on a new candidate: rejected, promoted, or passed on to an A/B test."""
        decision = offline_decision(self.registry, self.task, version)
        record = decision.as_json()
        with self.lock:
            if not decision.promote:
                reject(self.registry, self.model, version, record)
            elif not self.settings.max_ab_pairs:
                promote(self.registry, self.model, version, record)
            else:
                self.registry.set_candidate(self.model, version)
                passed = {**record, "action": "to be tested", "ab_test": rule(self.settings.max_ab_pairs, "paired outcomes")}
                self.registry.record(self.model, version, passed)
                log.info("candidate goes into an A/B test", extra={"model": self.model, "version": version})

    def _resume(self) -> None:
        """The A/B test of the candidate that the registry points at, with all that was stored of it."""
        candidate, champion = self.registry.candidate(self.model), self.registry.champion(self.model)
        if candidate is None or champion is None:
            self.trial = None
        elif not self.settings.max_ab_pairs:  # A/B tests were done away with while one was under way
            self.trial = None
            self.decide(candidate)
        else:
            state = self.registry.ab_test(self.model)
            began = state if state and state.champion == champion else None
            how = self._how(champion, began)
            current = self.trial
            kind = ServedAbTest if how == "served" else AbTest
            if not isinstance(current, kind) or (current.candidate, current.champion) != (candidate, champion):
                last = self.dataset.records[-1].shard_number if self.dataset.records else 0
                self._after = began.after if began and began.how == how else last
                self.trial = self._begin(champion, candidate, how)

    def _how(self, champion: int, began: AbTestState | None) -> Literal["simulated", "served"]:
        """Simulated trials while workers run; without them the grasps that robots report, if there are any."""
        if self.workers.read(max_age_seconds=WORKERS_GONE_SECONDS):
            self._workers_at = self.clock()
            return "simulated"
        if not self._without_workers():  # they may not have said anything yet
            return began.how if began else "simulated"
        return "served" if self.service.served[champion] else "simulated"

    def _without_workers(self) -> bool:
        return self.clock() - self._workers_at > WORKERS_GONE_SECONDS

    def _begin(self, champion: int, candidate: int, how: Literal["simulated", "served"]) -> AbTest | ServedAbTest:
        settings = self.settings
        versions = (self.model, champion, candidate, settings.max_ab_pairs)
        if how == "served":
            return ServedAbTest(*versions, self._after, self.signer.key_for(f"A/B test {versions[:3]} after {self._after}"))
        unseen = "folder" if settings.object_set == "folder" else "validation"
        pushes = self.task.outcome_kind == PushMeta.kind
        # What is done first where one thing is wanted may be a push, that tells nothing of grasps.
        kind = "mixed" if settings.scene_kind in GOAL_KINDS and not pushes else settings.scene_kind
        mix = SceneMix(kind, settings.profile, settings.vary).for_planner(self.task.recipe.planner)
        asked = (*versions, self.signer, settings.seed, mix, unseen)
        trained = is_trained(self.registry.card(self.model, champion))
        simulated = EpisodeTest(*asked, champion_trained=trained) if pushes else AbTest(*asked)
        simulated.learn(self.dataset.records)
        return simulated

    def _continue(self, trial: AbTest | ServedAbTest, new: Sequence[IndexEntry]) -> None:
        if isinstance(trial, ServedAbTest):
            trial.learn(self.service.served)
        else:
            trial.learn(new)
        verdict = trial.decided()
        if verdict is not None:
            self._decide(trial, verdict)
            return
        if isinstance(trial, AbTest):
            self._refusal = self.workers.refusal(trial.planner)
            if self._refusal:
                self.requests.withdraw(AB_TEST_PREFIX)
                trial.ask_anew()
                self._write_down(trial)
                return
            # As many as the workers have room for, whatever is done and not stored yet: else they would collect meanwhile.
            room = max(0, self.settings.outstanding_requests - self.requests.outstanding())
            for request in trial.missing(trial.under_way() + room):
                self.requests.issue(request)
        self._write_down(trial)

    def _write_down(self, trial: AbTest | ServedAbTest) -> None:
        """How the test stands, for the server (which gives the candidate its share) and for people."""
        served = isinstance(trial, ServedAbTest)
        state = AbTestState(
            champion=trial.champion,
            candidate=trial.candidate,
            how="served" if served else "simulated",
            share=SHARE if served else 0.0,
            key=trial.key if isinstance(trial, ServedAbTest) else "",
            after=self._after,
            text=self.state or "",
        )
        if state != self.registry.ab_test(self.model):
            with self.lock:
                self.registry.set_ab_test(self.model, state)

    def _decide(self, trial: AbTest | ServedAbTest, verdict: bool) -> None:
        measured = {**trial.score().rates()["candidate"], "protocol": f"A/B test {trial.what} against version {trial.champion}"}
        with self.lock:
            self.registry.update(self.model, trial.candidate, **{trial.card_field: measured})
            (promote if verdict else reject)(self.registry, self.model, trial.candidate, trial.record(verdict))
        self.trial = None

    def _measure(self) -> None:
        """Writes into the champion's card how its best grasps do in service, in simulation and with robots."""
        champion = self.registry.champion(self.model)
        if champion is None:
            return
        for field, protocol, parts, its in (
            (AbTest.card_field, SIMULATED, by_kind, self.service.simulated[champion]),
            (ServedAbTest.card_field, SERVED, by_source, self._served_since_test(champion)),
        ):
            if len(its) < self._measured.get((field, champion), 0) + MEASURE_EVERY:
                continue
            self._measured[field, champion] = len(its)
            rate = rate_with_interval(sum(record.success for record in its), len(its))
            expected = float(np.mean([record.quality or 0.0 for record in its]))
            with self.lock:
                measured = {**rate, "expected": expected, **parts(its), "protocol": protocol}
                self.registry.update(self.model, champion, **{field: measured})

    def _roll_back_if_worse(self) -> None:
        """Rolls the champion back when it does worse in service than its predecessor did, in simulation or with robots."""
        champion, previous = self.registry.champion(self.model), self.registry.previous(self.model)
        if champion is None or previous is None or previous == champion:
            return
        for where, new, before in (
            (AbTest.what, self.service.simulated[champion], self.service.simulated[previous]),
            (ServedAbTest.what, self._served_since_test(champion), self.service.served[previous]),
        ):
            if due := next_look([record.success for record in new], [record.success for record in before]):
                self._roll_back(champion, {**due, "reason": f"{due['reason']}, {where}"})
                return

    def _served_since_test(self, version: int) -> list[IndexEntry]:
        """Outcomes of a version with robots without those that promoted it: they were good by choice."""
        trials = (decision.get("trial") for decision in self.registry.card(self.model, version).decisions)
        shards = [trial.get("until_shard") for trial in trials if isinstance(trial, dict)]
        until = max((shard for shard in shards if isinstance(shard, int)), default=0)
        return [record for record in self.service.served[version] if record.shard_number > until]

    def _roll_back(self, champion: int, due: dict[str, Any]) -> None:
        with self.lock:
            self.registry.record(self.model, champion, due)
            back = self.registry.rollback(self.model)
            fell = {"action": "rolled back to", "reason": f"version {champion} fell: {due['reason']}"}
            self.registry.record(self.model, back, fell)
        log.warning(
            "rolled back", extra={"model": self.model, "from_version": champion, "to_version": back, "reason": due["reason"]}
        )


def by_kind(records: Sequence[IndexEntry]) -> dict[str, Any]:
    """Success by kind of scene."""
    return {"by_kind": _rates((record.scene.kind if record.scene else "", record.success) for record in records)}


def by_source(records: Sequence[IndexEntry]) -> dict[str, Any]:
    """Success by source of robots."""
    return {"by_source": _rates((readable(record.source), record.success) for record in records)}


def _rates(successes: Iterable[tuple[str, bool]]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[bool]] = {}
    for name, success in successes:
        groups.setdefault(name, []).append(success)
    return {name: rate_with_interval(sum(its), len(its)) for name, its in sorted(groups.items())}
