"""The trainer's loop: outcomes in, scene requests out, a round whenever enough is new, decisions, for ever.

All state is what lies on disk: shards (what was experienced), registry (what was learned and decided) and the counter of
scene requests. A start after a kill at any point therefore simply goes on.
"""

import fcntl
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

import redis

from shared.durable import keep_private
from shared.registry import Registry, RegistryError
from shared.retrying import AWAY, Troubles
from shared.settings import TrainerSettings
from shared.shards import ShardError
from shared.streams import TRAINERS, SceneRequestStream, WorkerStatusStore, connect
from trainer_job.data.feature_cache import UNFINISHED, FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.data.replay_buffer import ReplayBuffer, shards_folder
from trainer_job.data.sources import MAX_NAMED, Sources, readable
from trainer_job.ingest.quarantine import set_aside
from trainer_job.ingest.retention import Retention
from trainer_job.ingest.threads import IngestThreads, only_ingest
from trainer_job.promotion.ab_test import AbTest
from trainer_job.promotion.controller import PromotionController
from trainer_job.promotion.evidence import RequestSigner, ServiceRecord
from trainer_job.promotion.publish import REPOSITORY, offer_shipped, seed_registry
from trainer_job.service.coordinator import COLLECTING, Coordinator
from trainer_job.service.scene_requests import SceneRequestIssuer
from trainer_job.service.stages import turns
from trainer_job.service.store import kept_in_store
from trainer_job.tasks import task_of_model
from trainer_job.training.distributed import DistContext
from trainer_job.training.loop import Interrupted, NotFinite
from trainer_job.training.round import RoundPlan, finish_round, plan_round, task_of_version, train_round, trained_on

log = logging.getLogger(__name__)

T = TypeVar("T")

TURN_SECONDS = 0.5
STARTING = "starting"
OUTDATED = ("views",)
"""Folders that earlier versions kept in the data folder, and that nothing reads any more."""


@contextmanager
def only_trainer(data_dir: Path) -> Iterator[IO[str]]:
    """Holds the data directory for this process; the system lets go of it even when the process is killed."""
    with open(data_dir / "trainer.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SystemExit(f"another trainer works on {data_dir}: stop it, or give this one its own --data-dir") from None
        yield lock


class Trainer:
    """Rank 0: everything but the gradient steps that it shares with other ranks."""

    def __init__(
        self, settings: TrainerSettings, ranks: DistContext, stopping: threading.Event, troubles: Troubles | None = None
    ) -> None:
        if settings.redis_url is None:
            raise SystemExit("the trainer needs the queue: set REDIS_URL or --redis-url, e.g. redis://127.0.0.1:6379/0")
        try:
            task = task_of_model(settings.model)
        except ValueError as error:
            raise SystemExit(f"MODEL or --model: {error}") from None
        self.settings, self.ranks, self.stopping = settings, ranks, stopping
        client = connect(settings.redis_url)
        shards = shards_folder(settings.data_dir)
        signer = RequestSigner.of(settings.data_dir)
        self.troubles = troubles or Troubles()
        self.ingest = IngestThreads(client, settings, signer.issued, 0, self.troubles)
        self.registry = Registry(settings.models_dir)
        shipped = settings.shipped_models_dir or REPOSITORY / "models"
        seed_registry(self.registry, shipped, task, settings.seed)
        if offered := offer_shipped(self.registry, shipped):
            log.info("newer weights ship, and are offered as candidates", extra={"versions": ", ".join(offered)})
        self.sources = Sources(settings.trusted_sources, settings.max_source_share)
        self.replay = ReplayBuffer(OutcomeIndex(shards), feature_cache(settings, self.registry, settings.model), self.sources)
        self.lock = threading.Lock()
        stream = SceneRequestStream(client)
        issuer = SceneRequestIssuer(stream, settings.data_dir / "scene_requests.json", settings, signer)
        self.coordinator = Coordinator(
            client, self.registry, self.lock, issuer, self.replay.dataset, self.ingest, settings.model, self.troubles
        )
        service = ServiceRecord(settings.model, signer, issuer.request_of, self.sources)
        self.promotion = PromotionController(
            task, self.registry, self.lock, self.replay.dataset, stream, WorkerStatusStore(client), service, signer, settings
        )
        keep = settings.keep_gb and settings.keep_gb * 1e9
        features = settings.data_dir / "features"
        self.retention = Retention(self.replay.dataset, self.replay.cache, features, keep, self.promotion.decided_after)
        self.rounds = 0
        self._counted = -1, -1, 0
        self._given_up = 0
        """Learnable outcomes of a round that could not be trained."""

    def run(self) -> None:
        """Until told to stop, or after `settings.rounds` rounds; in a stage what they made is decided on, too."""
        threads: list[IngestThreads | Coordinator] = [self.ingest, self.coordinator]
        for thread in threads:
            thread.start()
        try:
            while not self.stopping.is_set() and not self._finished():
                if dead := [thread.name for thread in threads if not thread.is_alive()]:
                    raise RuntimeError(f"the thread {dead[0]} has died; see the log above")
                self._patiently(self._turn_or_repair)
        except AWAY as error:
            log.warning("stopped while waiting", extra={"error": str(error)})
        finally:
            for thread in threads:
                thread.stop()

    def _finished(self) -> bool:
        return 0 < self.settings.rounds <= self.rounds and not (self.settings.stages and self.promotion.trial)

    def _patiently(self, action: Callable[[], T]) -> T:
        return self.troubles.patiently("trainer", self.stopping, action)

    def _turn_or_repair(self) -> None:
        """One turn; what it finds damaged is set aside or replaced, so that the next one goes on."""
        try:
            self._turn()
        except ShardError as error:
            set_aside(error)
        except RegistryError as error:
            with self.lock:
                done = self.registry.repair(self.settings.model)
            if not done:
                raise
            log.error("registry repaired", extra={"error": str(error), "done": done})

    def _turn(self) -> None:
        """One look at everything; a round when it is due and no candidate is being tested."""
        self.replay.refresh()
        self._count()
        try:
            self.promotion.turn()
        except redis.RedisError as error:
            log.warning("decisions wait for the queue", extra={"error": str(error)})
        self.retention.turn()
        self.coordinator.state = self.promotion.state or COLLECTING
        self.coordinator.testing = isinstance(self.promotion.trial, AbTest)
        new = min(self.coordinator.waiting_to_be_learned, len(self.replay) - self._given_up)
        plan = None
        if new >= self.settings.outcomes_per_round and not self.promotion.trial:
            plan = plan_round(self.replay, self.registry, self.settings, self.settings.model)
        if plan and len(plan.selection.labels) > 1:
            self._round(plan)
        else:
            self.ranks.broadcast("wait")
            time.sleep(TURN_SECONDS)

    def _count(self) -> None:
        """Counts what is new to learn from, what is held out, and what comes from sources that are not trusted."""
        records, told = self.replay.records, self.coordinator
        seen = trained_on(self.registry, self.settings.model, self.replay)
        told.removed, told.kept_bytes = self.replay.dataset.removed, self.retention.bytes
        if (len(records), self.replay.dataset.end, seen) == self._counted:
            return
        self._counted = len(records), self.replay.dataset.end, seen
        told.waiting_to_be_learned = self.sources.usable(records[seen:])
        told.refused, told.held_out = dict(self.replay.refused), len(self.replay.held_out())
        told.untrusted = {readable(name): count for name, count in self.sources.untrusted(records).most_common(MAX_NAMED)}
        note = untrusted_note(
            told.untrusted, self.sources.trusted, certain=len(records) - self.sources.untrusted(records).total()
        )
        if note != told.note and note:
            log.warning(note)
        told.note = note

    def _round(self, plan: RoundPlan) -> None:
        start = time.monotonic()
        self.coordinator.state = "training"
        log.info("round begins", extra={"from_version": plan.parent, "outcomes": len(plan.selection.labels)})
        self.ranks.broadcast(plan)
        cache, shards = self.replay.cache, self.replay.dataset.directory
        try:
            network, history = train_round(plan, self.registry, cache, shards, self.ranks, self.stopping.is_set, self._progress)
        except NotFinite as error:
            self._given_up = len(self.replay)
            log.error("round given up: it is tried again with more outcomes", extra={"why": str(error)})
            return
        runs = self.settings.data_dir / "runs"
        version = finish_round(plan, network, history, self.replay, self.registry, runs, self.ranks, self._patiently)
        card = self.registry.card(self.settings.model, version)
        figures = {name: round(value, 4) for name, value in card.metrics.items()}
        log.info("round ends", extra={"version": version, "seconds": round(time.monotonic() - start, 1), **figures})
        self.promotion.decide(version)
        self.rounds += 1

    def _progress(self, step: int, steps: int, loss: float) -> None:
        self.coordinator.state = f"training, step {step} of {steps}"
        log.debug("training", extra={"step": step, "steps": steps, "loss": round(loss, 4)})


def untrusted_note(untrusted: Iterable[str], trusted: Iterable[str], certain: int) -> str:
    """What the operator should know of outcomes whose sources are not trusted. certain: how many others there are."""
    if not (names := ", ".join(sorted(untrusted))):
        return ""
    way_out = f"if they may, set TRUSTED_SOURCES={','.join(sorted({*trusted, *untrusted}))}"
    if certain:
        return f"reports of {names} decide on no version; {way_out}"
    return f"nothing is learned: all reports are of {names}, which may not teach alone; {way_out}"


def remove_outdated(data_dir: Path) -> None:
    """Removes what only earlier versions read, and features that a kill left unfinished: the shards, which stay, tell all."""
    for unfinished in data_dir.glob(f"features/*/{UNFINISHED}*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    for folder in (data_dir / name for name in OUTDATED):
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
            log.info("folder of an earlier version removed", extra={"folder": str(folder)})


def feature_cache(settings: TrainerSettings, registry: Registry, model: str) -> FeatureCache:
    """Features as the model's champion sees the world."""
    return FeatureCache(settings.data_dir / "features", task_of_version(registry, model, registry.champion(model)))


def follow(settings: TrainerSettings, ranks: DistContext, stopping: threading.Event) -> None:
    """Ranks other than 0: train what rank 0 plans."""
    registry = Registry(settings.models_dir)
    plan: RoundPlan | str | None
    while (plan := ranks.broadcast("")) is not None:
        if isinstance(plan, RoundPlan):
            cache = feature_cache(settings, registry, plan.name)  # rank 0 has filled the registry before it plans
            with suppress(NotFinite):  # rank 0 says so
                train_round(plan, registry, cache, shards_folder(settings.data_dir), ranks, stopping.is_set)


def report_start(redis_url: str | None, troubles: Troubles) -> None:
    """Tell on the board what a trainer waits for that has not begun yet."""
    if redis_url is not None:
        with suppress(redis.RedisError):
            WorkerStatusStore(connect(redis_url), TRAINERS).report("trainer", {"state": STARTING, "trouble": str(troubles)})


def run(settings: TrainerSettings, ranks: DistContext, stopping: threading.Event) -> None:
    """This rank's part, until told to stop."""
    keep_private(settings.data_dir)
    try:
        if ranks.first:
            with only_trainer(settings.data_dir), only_ingest(settings, 0):
                remove_outdated(settings.data_dir)
                troubles = Troubles()
                tell = partial(report_start, settings.redis_url, troubles)
                with kept_in_store(settings, stopping, troubles, tell):
                    for turn in turns(settings, stopping):
                        troubles.patiently("trainer", stopping, partial(Trainer, turn, ranks, stopping, troubles), tell).run()
                ranks.broadcast(None)
        else:
            follow(settings, ranks, stopping)
    except Interrupted as interruption:
        log.info("round given up: it is repeated at the next start", extra={"why": str(interruption)})
