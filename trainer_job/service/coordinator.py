"""What must go on while a round trains: scene requests, commands for the registry, the trainer's status."""

import logging
import threading
import time
from contextlib import suppress
from typing import Any

import redis

from shared.registry import Registry
from shared.retrying import AWAY, Troubles
from shared.streams import TRAINERS, WorkerStatusStore
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.ingest.quarantine import quarantined
from trainer_job.ingest.threads import IngestThreads
from trainer_job.promotion.offline_gate import MIN_HELD_OUT
from trainer_job.promotion.registry_commands import apply_commands
from trainer_job.service.scene_requests import SceneRequestIssuer

log = logging.getLogger(__name__)

COLLECTING = "collecting"
TURN_SECONDS = 0.5
REPORT_SECONDS = 2.0
LOG_SECONDS = 10.0


class Coordinator(threading.Thread):
    """Runs until `stop`, through outages of the queue. lock: held while pointers of the registry move.

    The trainer says how it stands: state, testing (simulated trials are asked for), waiting_to_be_learned, refused, held_out,
    untrusted (outcomes by source of robots that is not trusted), note (what the operator should know), removed (outcomes that
    are not kept any more), kept_bytes (of those that are, and of what is computed of them), lag (entries of the queue, each the
    outcomes of a scene, that are not stored yet).
    """

    def __init__(
        self,
        client: redis.Redis,
        registry: Registry,
        lock: threading.Lock,
        issuer: SceneRequestIssuer,
        dataset: OutcomeIndex,
        ingest: IngestThreads,
        name: str,
        troubles: Troubles,
    ) -> None:
        super().__init__(name="coordinator", daemon=True)
        self.client, self.registry, self.lock = client, registry, lock
        self.issuer, self.dataset, self.ingest, self.model = issuer, dataset, ingest, name
        self.board = WorkerStatusStore(client, TRAINERS)
        self.troubles = troubles
        self.waiting_to_be_learned = 0
        self.refused: dict[str, int] = {}
        self.state, self.testing = COLLECTING, False
        self.held_out = self.removed = self.kept_bytes = 0
        self.untrusted: dict[str, int] = {}
        self.note = ""
        self._learned = 0
        self._reported = self._logged = float("-inf")
        self._stopping = threading.Event()

    def run(self) -> None:
        with suppress(*AWAY):  # only when told to stop
            while not self._stopping.wait(TURN_SECONDS):
                self.troubles.patiently("coordinator", self._stopping, self.turn)

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def turn(self) -> None:
        """One turn. Raises redis.RedisError when the queue is away and OSError when the disk is full, but says so first."""
        try:
            self._work()
        finally:
            self._report()

    def _work(self) -> None:
        with self.lock:
            apply_commands(self.client, self.registry)
        records, self._learned = self.dataset.since(self._learned), self.dataset.end
        self.issuer.learn(records)
        self.issuer.top_up(self.waiting_to_be_learned, testing=self.testing)

    def _report(self) -> None:
        now = time.monotonic()
        if now - self._reported > REPORT_SECONDS:
            self._reported = now
            self.board.report("trainer", {**self.status(), "lag": self.ingest.lag()})
        if now - self._logged > LOG_SECONDS:
            self._logged = now
            log.info("trainer", extra=self.status())

    def status(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "state": self.state,
            "asks": self.issuer.settings.outstanding_requests > 0,
            "outcomes": len(self.dataset),
            "removed": self.removed,
            "kept_bytes": self.kept_bytes,
            "new": self.waiting_to_be_learned,
            "held_out": self.held_out,
            "held_out_needed": MIN_HELD_OUT,
            "untrusted": self.untrusted,
            "note": "; ".join(
                filter(None, (self.issuer.refusal and f"nothing is collected: {self.issuer.refusal}", self.note))
            ),
            "refused": self.refused,
            **self.ingest.status(),
            "damaged_shards": len(quarantined(self.ingest.directory)),
            "trouble": str(self.troubles),
            "champion": self.registry.champion(self.model),
        }
