"""From the queue to the disk: every outcome that a worker had acknowledged is stored exactly once.

The queue delivers at least once. An entry is acknowledged only after its shard is on the disk, and an id that is already
there is dropped, so a kill at any point neither loses nor duplicates anything.
"""

import errno
import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from grasp_client.contract import SceneRef, UnknownMeta
from shared.durable import LEAST_FREE_BYTES
from shared.outcome_codec import EncodedOutcome, is_replay
from shared.retrying import AWAY, Troubles
from shared.shards import Sender, ShardWriter
from shared.streams import Delivered, OutcomeStream, StreamEntry
from trainer_job.ingest.marks import Marks, stored
from trainer_job.ingest.quarantine import check_shards

log = logging.getLogger(__name__)

CONSUMER = "trainer"
"""The same name at every start, so that what was in hand at a kill is this consumer's own."""

MOST_DELIVERIES = 5
"""An entry delivered more often than this was in hand each time the trainer died: it becomes a dead letter."""
ABANDONED_MS = 60_000
TEND_SECONDS = 5.0
MOST_ENTRIES = 16
"""Read at once: each may hold the outcomes of a scene."""
SHARD_BYTES = 64 * 2**20
"""A shard is written when the images in hand have so many bytes; one that outcomes share counts once."""


class Ingest:
    """Reads one outcome stream and writes shards into `directory`. One per stream; `step` from one thread only.

    issued: whether a scene with a nonce is of a request of this trainer. Others are dead letters: somebody made them up.
    owner: tells this writer from others into the same directory. marks: what is stored already, in shards that were checked.
    watch: shown the outcomes of each shard that is stored; must not raise.
    """

    def __init__(
        self,
        stream: OutcomeStream,
        directory: Path,
        shard_outcomes: int = 512,
        shard_seconds: float = 5.0,
        issued: Callable[[SceneRef], bool] = lambda scene: True,
        owner: str = "",
        marks: Marks | None = None,
        watch: Callable[[Sequence[EncodedOutcome]], None] = lambda outcomes: None,
    ) -> None:
        self.stream, self.directory, self.issued, self.watch = stream, directory, issued, watch
        self.shard_outcomes, self.shard_seconds = shard_outcomes, shard_seconds
        self.writer = ShardWriter(directory, owner)
        self.writer.remove_unfinished()
        if marks is None:
            check_shards(directory)
            marks = stored(directory)
        self.marks = marks
        self.duplicates = self.dead_letters = 0
        self.unknown_kinds = Counter[str]()
        self._waiting: dict[str, tuple[EncodedOutcome, Sender | None]] = {}
        self._bytes = 0
        self._keys: list[str] = []
        self._since = 0.0
        self._tended: float | None = None

    def step(self, block_ms: int = 1_000) -> Path | None:
        """Takes in what is there, waiting up to `block_ms` for it; returns the shard that became due, if one did.

        Raises redis.RedisError when the queue is away and OSError when the disk refuses; what is in hand stays in hand.
        """
        if not self._has_room():
            free = f"less than {LEAST_FREE_BYTES >> 20} MiB free, outcomes stay in the queue"
            raise OSError(errno.ENOSPC, free, str(self.directory))
        if self._tended is None or time.monotonic() - self._tended > TEND_SECONDS:
            self._tend()
        if not self._due():
            count = min(self.shard_outcomes - len(self._waiting), MOST_ENTRIES)
            self._accept(self.stream.read(CONSUMER, count=max(count, 1), block_ms=self._block(block_ms)))
        return self.flush() if self._due() else None

    def flush(self) -> Path | None:
        """Writes what is in hand as one shard, then acknowledges it."""
        shard, outcomes = None, ()
        if self._waiting:
            outcomes, senders = zip(*self._waiting.values(), strict=True)
            shard = self.writer.write(outcomes, senders)
            for outcome, sender in self._waiting.values():
                self.marks.add(outcome.id, sender)
            self._waiting, self._bytes = {}, 0
        self.stream.ack(self._keys)
        self._keys = []
        if outcomes:
            self.watch(outcomes)
        return shard

    def _has_room(self) -> bool:
        return shutil.disk_usage(self.directory).free > LEAST_FREE_BYTES

    def _due(self) -> bool:
        full = len(self._waiting) >= self.shard_outcomes or self._bytes >= SHARD_BYTES
        return full or bool(self._keys and time.monotonic() - self._since >= self.shard_seconds)

    def _block(self, block_ms: int) -> int:
        if not self._keys:
            return block_ms
        left = self.shard_seconds - (time.monotonic() - self._since)
        return max(1, min(block_ms, int(left * 1000)))

    def _tend(self) -> None:
        """Drops from the queue what is stored, sets poison aside, and takes over what a dead reader left.

        Dropping comes first: a full queue has no room for a dead letter.

        What this consumer itself had in hand when it was killed is written at once: waiting for more would count up
        deliveries of innocent entries when it is killed again and again.
        """
        self.stream.trim()
        for key, deliveries in self.stream.deliveries().items():
            if deliveries > MOST_DELIVERIES and key not in self._keys:
                self._dead_letter(self.stream.undecoded(key), f"delivered {deliveries} times without being stored")
        first = self._tended is None
        while claimed := self._unheld(self.stream.claim(CONSUMER, min_idle_ms=0 if first else ABANDONED_MS)):
            self._accept(claimed)
            self.flush()
        self._tended = time.monotonic()

    def _unheld(self, entries: list[StreamEntry]) -> list[StreamEntry]:
        held = set(self._keys)
        return [entry for entry in entries if entry.key not in held]

    def _accept(self, entries: list[StreamEntry]) -> None:
        if entries and not self._keys:
            self._since = time.monotonic()
        for entry in entries:
            if entry.error is not None:
                self._dead_letter(entry, entry.error)
                continue
            refused = [(each, reason) for each in entry.outcomes if (reason := self._refusal(each))]
            if len(entry.outcomes) == len(refused) == 1:
                self._dead_letter(entry, refused[0][1])
                continue
            for each, reason in refused:
                self._dead_letter(entry, reason, {name.encode(): value for name, value in each.encoded.fields().items()})
            self._keys.append(entry.key)
            images = {id(data): len(data) for each in entry.outcomes for data in each.encoded.images.values()}
            self._bytes += sum(images.values())
            left = {id(each) for each, _ in refused}
            for each in entry.outcomes:
                if id(each) not in left:
                    self._keep(each)

    def _refusal(self, delivered: Delivered) -> str:
        """Why an outcome is not stored; empty where it is."""
        if delivered.outcome is None:
            return delivered.error
        if not delivered.encoded.images and not is_replay(delivered.outcome):
            return "no image: an outcome needs the observation it was planned on"
        scene = getattr(delivered.outcome.meta, "scene", None)
        made_up = scene and scene.nonce and not self.issued(scene)
        return "the nonce of its scene is none that this trainer has given" if made_up else ""

    def _keep(self, delivered: Delivered) -> None:
        """Takes an outcome in hand, once. One of a kind that is not known here is kept for a version that knows it."""
        outcome, sender = delivered.encoded, delivered.sender
        if outcome.id in self._waiting or self.marks.knows(outcome.id, sender):
            self.duplicates += 1
            return
        self._waiting[outcome.id] = outcome, sender
        if isinstance(delivered.outcome and delivered.outcome.meta, UnknownMeta):
            if outcome.kind not in self.unknown_kinds:
                log.warning("outcomes of an unknown kind are stored, not learned from", extra={"kind": outcome.kind})
            self.unknown_kinds[outcome.kind] += 1

    def _dead_letter(self, entry: StreamEntry, reason: str, part: dict[bytes, bytes] | None = None) -> None:
        """part: what of the entry it is, if not all."""
        self.stream.dead_letter(entry.key, entry.raw if part is None else part, reason, done=part is None)
        self.dead_letters += 1
        log.warning("outcome sent to the dead stream", extra={"key": entry.key, "reason": reason})


class IngestThread(threading.Thread):
    """Runs an `Ingest` until `stop`, through outages of the queue and of the disk."""

    def __init__(self, ingest: Ingest, troubles: Troubles | None = None) -> None:
        super().__init__(name="ingest", daemon=True)
        self.ingest, self.troubles = ingest, troubles or Troubles()
        self._stopping = threading.Event()

    def run(self) -> None:
        with suppress(*AWAY):  # only when told to stop
            while not self._stopping.is_set():
                self.troubles.patiently("ingest", self._stopping, self.ingest.step)

    def stop(self) -> None:
        """Ends the thread and stores what is in hand; what cannot be stored is delivered again at the next start."""
        self._stopping.set()
        self.join()
        try:
            self.ingest.flush()
        except AWAY as error:
            log.warning("outcomes in hand stay in the queue until the next start", extra={"error": str(error)})
