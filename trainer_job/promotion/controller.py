"""What becomes of each version: offline gate, A/B test, service, and out of it again when it does badly."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import numpy as np

from shared.rates import rate_with_interval
from shared.registry import Registry
from shared.settings import TrainerSettings
from shared.streams import SceneRequestStream
from trainer_job.data.outcome_index import IndexEntry, OutcomeIndex, in_service
from trainer_job.promotion.ab_test import AbTest, rule
from trainer_job.promotion.publish import offline_decision, pending_versions, promote, reject
from trainer_job.promotion.rollback_monitor import next_look
from trainer_job.tasks import AnyTask

log = logging.getLogger(__name__)

MEASURE_EVERY = 20
"""Attempts in service after which a champion's card is brought up to date: success with its interval, and as `expected` the
mean quality that was promised for the same grasps (the best of many is easily promised too much)."""
PROTOCOL = "in service: best grasp of each plan in scenes that the trainer asked for to collect, strict contact rule"


class PromotionController:
    """Decides on versions of one model. All it goes by is stored, so that a restart decides the same.

    lock: held while pointers of the registry move.
    """

    def __init__(
        self,
        task: AnyTask,
        registry: Registry,
        lock: threading.Lock,
        dataset: OutcomeIndex,
        requests: SceneRequestStream,
        settings: TrainerSettings,
    ) -> None:
        self.task, self.registry, self.lock = task, registry, lock
        self.model = task.recipe.name
        self.dataset, self.requests, self.settings = dataset, requests, settings
        self.trial: AbTest | None = None
        self._seen = 0
        self._measured: dict[int, int] = {}

    def turn(self) -> None:
        """One look at what is new. Raises redis.RedisError when the queue is away."""
        for version in pending_versions(self.registry, self.model):
            self.decide(version)
        new = self.dataset.records[self._seen :]
        self._seen += len(new)
        self._resume()
        if self.trial:
            self._continue(self.trial, new)
        if new:
            self._measure()
            self._roll_back_if_worse()

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
                passed = {**record, "action": "to be tested", "ab_test": rule(self.settings.max_ab_pairs)}
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
        elif self.trial is None or (self.trial.candidate, self.trial.champion) != (candidate, champion):
            settings = self.settings
            unseen = "folder" if settings.object_set == "folder" else "validation"
            scenes = (settings.seed, settings.profile, settings.scene_kind, unseen)
            self.trial = AbTest(self.model, champion, candidate, settings.max_ab_pairs, *scenes)
            self.trial.learn(self.dataset.records)

    def _continue(self, trial: AbTest, new: Sequence[IndexEntry]) -> None:
        trial.learn(new)
        verdict = trial.decided()
        if verdict is None:
            # As many as the workers have room for, whatever is done and not stored yet: else they would collect meanwhile.
            room = max(0, self.settings.outstanding_requests - self.requests.outstanding())
            for request in trial.missing(trial.under_way() + room):
                self.requests.issue(request)
            return
        with self.lock:
            measured = {**trial.score().rates()["candidate"], "protocol": f"A/B test against version {trial.champion}"}
            self.registry.update(self.model, trial.candidate, simulated=measured)
            (promote if verdict else reject)(self.registry, self.model, trial.candidate, trial.record(verdict))
        self.trial = None

    def _measure(self) -> None:
        """Writes into the champion's card how its best grasps do in service."""
        champion = self.registry.champion(self.model)
        served = [] if champion is None else in_service(self.dataset.records, self.model, champion)
        if champion is None or len(served) < self._measured.get(champion, 0) + MEASURE_EVERY:
            return
        self._measured[champion] = len(served)
        rate = rate_with_interval(sum(record.success for record in served), len(served))
        expected = float(np.mean([record.quality for record in served]))
        simulated = {**rate, "expected": expected, "by_kind": by_kind(served), "protocol": PROTOCOL}
        with self.lock:
            self.registry.update(self.model, champion, simulated=simulated)

    def _roll_back_if_worse(self) -> None:
        """Rolls the champion back when it does worse in service than its predecessor did."""
        champion, previous = self.registry.champion(self.model), self.registry.previous(self.model)
        if champion is None or previous is None or previous == champion:
            return
        due = next_look(*([r.success for r in in_service(self.dataset.records, self.model, v)] for v in (champion, previous)))
        if due is None:
            return
        with self.lock:
            self.registry.record(self.model, champion, due)
            back = self.registry.rollback(self.model)
            self.registry.record(
                self.model, back, {"action": "rolled back to", "reason": f"version {champion} fell: {due['reason']}"}
            )
        log.warning(
            "rolled back", extra={"model": self.model, "from_version": champion, "to_version": back, "reason": due["reason"]}
        )


def by_kind(records: Sequence[IndexEntry]) -> dict[str, dict[str, float]]:
    """Success by kind of scene."""
    kinds: dict[str, list[bool]] = {}
    for record in records:
        kinds.setdefault(record.scene.kind if record.scene else "", []).append(record.success)
    return {kind: rate_with_interval(sum(successes), len(successes)) for kind, successes in sorted(kinds.items())}
