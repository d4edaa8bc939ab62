"""Outcomes on their way from the workers to the trainer."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import redis

from grasp_client.contract import Outcome, OutcomeMeta
from shared.outcome_codec import EncodedOutcome, UnreadableOutcome, completed, read_entry
from shared.streams.group import GroupStream, of_type
from shared.streams.outcome_batches import BATCH_VERSION, OutcomeBatch, read_batch

OUTCOMES = "grasp:outcomes"
DEAD_LETTERS_KEPT = 10_000
DEAD_FIELD_BYTES = 65_536
REPLICA_MS = 2_000
"""Longest wait for replicas; then the outcomes are sent again later, which adds none twice."""

# One atomic step: a batch whose numbers its worker has already sent is not added again, so a retry after a lost reply neither
# duplicates an entry nor counts it twice. KEYS: sent, sequence, streams. ARGV, for each batch: place of its stream, worker,
# last number, how many, how many values follow, the entry's fields.
_PUBLISH_ONCE = """
local fresh, at = 0, 1
while at <= #ARGV do
  local stream, worker, last = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2]
  local count, values = ARGV[at + 3], tonumber(ARGV[at + 4])
  at = at + 5
  redis.call('HGET', KEYS[1], worker)  -- fails where it is of another type, before anything is written
  local before = redis.call('HGET', KEYS[2], worker)
  if not before or tonumber(before) < tonumber(last) then
    redis.call('XADD', stream, '*', unpack(ARGV, at, at + values - 1))
    redis.call('HSET', KEYS[2], worker, last)
    redis.call('HINCRBY', KEYS[1], worker, count)
    fresh = fresh + count
  else
    redis.call('HSET', KEYS[2], worker, before)  -- replicas that have this write have those before it: see `_run`
  end
  at = at + values
end
return fresh
"""


def stream_names(count: int) -> list[str]:
    """The streams of outcomes, of which each worker uses one."""
    return [OUTCOMES, *(f"{OUTCOMES}:{number}" for number in range(1, count))]


@dataclass(frozen=True)
class Delivered:
    """One outcome of an entry: as bytes, and read, or the reason why it cannot be read. sender: its worker and the number that
    it has there, if a worker sent it."""

    encoded: EncodedOutcome
    outcome: Outcome[OutcomeMeta] | None = None
    error: str = ""
    sender: tuple[str, int] | None = None


@dataclass(frozen=True)
class StreamEntry:
    """One delivered entry: its outcomes, or the reason why it cannot be read."""

    key: str
    outcomes: list[Delivered] = field(default_factory=list)
    error: str | None = None
    raw: dict[bytes, bytes] = field(default_factory=dict, repr=False)


class OutcomeSender:
    """The workers' end. streams: how many there are; a hash of the worker's name says which of them it uses.

    replicas: of the queue that must have an outcome too before it counts as taken: what only a primary had dies with it.
    """

    def __init__(self, client: redis.Redis, streams: int = 1, replicas: int = 0):
        self.client: Any = client
        self.names, self.replicas = stream_names(streams), replicas
        self._publish = self.client.register_script(_PUBLISH_ONCE)

    def publish(self, batches: Sequence[OutcomeBatch]) -> int:
        """Adds batches, all or none, and returns how many outcomes are new: those that their worker has already sent are not
        added again (a retry). When this returns they are as safe as the queue keeps anything.

        Numbers rise within a worker. Raises redis.RedisError when the queue is away or full (`maxmemory` with `noeviction`):
        keep the outcomes and try again later.
        """
        arguments: list[Any] = []
        for batch in batches:
            stream = 3 + zlib.crc32(batch.worker.encode()) % len(self.names)
            values = [each for item in batch.fields().items() for each in item]
            arguments += [stream, batch.worker, batch.last, batch.count, len(values), *values]
        types = {f"{OUTCOMES}:sent": "hash", f"{OUTCOMES}:sequence": "hash"} | dict.fromkeys(self.names, "stream")
        return int(of_type(self.client, types, lambda: self._run(list(types), arguments)))

    def _run(self, keys: list[str], arguments: list[Any]) -> int:
        if not self.replicas:
            return int(self._publish(keys=keys, args=arguments))
        # One connection: replicas are counted for what it wrote. A retry writes as well, for WAIT after no write counts every
        # replica, also one that has not got what was sent before.
        pipeline = self.client.pipeline(transaction=False)
        self._publish(keys=keys, args=arguments, client=pipeline)
        pipeline.wait(self.replicas, REPLICA_MS)
        fresh, reached = pipeline.execute()
        if reached < self.replicas:
            raise redis.ConnectionError(f"{reached} replicas of the queue have the outcomes, expected {self.replicas}")
        return int(fresh)


class OutcomeStream(GroupStream):
    """Outcomes on their way to the trainer."""

    def __init__(self, client: redis.Redis, stream: str = OUTCOMES, group: str = "trainer"):
        super().__init__(client, stream, group)
        self.dead = f"{OUTCOMES}:dead"

    def publish(self, outcome: EncodedOutcome) -> None:
        """Add an outcome that no worker numbers. Raises redis.RedisError when the queue is away or full."""
        fields = cast(Any, outcome.fields())
        of_type(self.client, {self.stream: "stream"}, lambda: self.client.xadd(self.stream, fields))

    def sent(self) -> dict[str, int]:
        """Outcomes that each worker has had acknowledged by the queue, ever."""
        rows = self.client.hgetall(f"{OUTCOMES}:sent").items()
        return {name.decode(errors="replace"): int(count) for name, count in rows if count.isdigit() and len(count) < 20}

    def read(self, consumer: str, count: int = 64, block_ms: int = 2_000) -> list[StreamEntry]:
        """New entries, waiting up to `block_ms` (at most MAX_BLOCK_MS) for the first."""
        return [_entry(key, fields) for key, fields in self._read(consumer, count, block_ms)]

    def claim(self, consumer: str, min_idle_ms: int, count: int = 64) -> list[StreamEntry]:
        """Entries that another consumer (or this one before it died) took and left for longer than `min_idle_ms`."""
        return [_entry(key, fields) for key, fields in self._claim(consumer, min_idle_ms, count)]

    def deliveries(self, count: int = 1_000) -> dict[str, int]:
        """How often each pending entry was delivered: many times means that reading it kills the reader."""
        rows = self._grouped(lambda: self.client.xpending_range(self.stream, self.group, min="-", max="+", count=count))
        return {row["message_id"].decode(): int(row["times_delivered"]) for row in rows}

    def undecoded(self, key: str) -> StreamEntry:
        """A pending entry as it lies in the stream: for a dead letter that must not be read again."""
        rows = self.client.xrange(self.stream, min=key, max=key)
        return StreamEntry(key, raw=rows[0][1] if rows else {})

    def ack(self, keys: list[str]) -> None:
        """Acknowledge entries: call only when what they hold is safe on disk."""
        if keys:
            self.client.xack(self.stream, self.group, *keys)

    def dead_letter(self, key: str, fields: Mapping[bytes, bytes], reason: str, done: bool = True) -> None:
        """Put what an entry held into the dead stream with the reason (long fields are cut). done: that was all of the entry,
        which is acknowledged."""
        letter = {name: value[:DEAD_FIELD_BYTES] for name, value in fields.items()}
        letter |= {b"key": key.encode(), b"reason": reason.encode(errors="replace")}

        def move() -> None:
            transaction = self.client.pipeline(transaction=True)
            transaction.xadd(self.dead, cast(Any, letter), maxlen=DEAD_LETTERS_KEPT)
            if done:
                transaction.xack(self.stream, self.group, key)
            transaction.execute()

        of_type(self.client, {self.dead: "stream"}, move)


def _entry(key: bytes, fields: dict[bytes, bytes]) -> StreamEntry:
    try:
        if fields.get(b"v") == BATCH_VERSION.encode():
            return StreamEntry(key.decode(), _unpacked(read_batch(fields)), raw=fields)
        encoded, outcome = read_entry(fields)
    except UnreadableOutcome as error:
        return StreamEntry(key.decode(), error=str(error), raw=fields)
    except Exception as error:  # whatever an entry holds must not end its reader, now and at each start
        return StreamEntry(key.decode(), error=f"cannot be read: {error!r}", raw=fields)
    return StreamEntry(key.decode(), [Delivered(encoded, outcome)], raw=fields)


def _unpacked(batch: OutcomeBatch) -> list[Delivered]:
    """The outcomes of a batch; one that cannot be read keeps none of the others back. Raises UnreadableOutcome."""
    outcomes = batch.outcomes()
    if len(outcomes) != batch.count:
        raise UnreadableOutcome(f"outcomes of a scene: expected {batch.count}, got {len(outcomes)}")
    delivered = []
    for number, encoded in enumerate(outcomes, batch.first):
        try:
            delivered.append(Delivered(*completed(encoded), sender=(batch.worker, number)))
        except UnreadableOutcome as error:
            delivered.append(Delivered(encoded, error=str(error), sender=(batch.worker, number)))
    return delivered
