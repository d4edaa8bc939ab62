"""Outcomes on their way from the workers to the trainer."""

from dataclasses import dataclass, field
from typing import Any, cast

import redis

from grasp_client.contract import Outcome, OutcomeMeta
from shared.outcome_codec import EncodedOutcome, UnreadableOutcome, read_entry
from shared.streams.group import GroupStream, of_type

OUTCOMES = "grasp:outcomes"
DEAD_LETTERS_KEPT = 10_000
DEAD_FIELD_BYTES = 65_536

# One atomic step: an outcome whose sequence number this worker has already sent is not added again, so a retry after a
# lost reply neither duplicates the entry nor counts it twice.
_PUBLISH_ONCE = """
if ARGV[1] ~= '' then
  redis.call('HGET', KEYS[2], ARGV[1])  -- fails where it is of another type, before anything is written
  local last = redis.call('HGET', KEYS[3], ARGV[1])
  if last and tonumber(last) >= tonumber(ARGV[2]) then return 0 end
end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 3))
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
  redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
end
return 1
"""


@dataclass(frozen=True)
class StreamEntry:
    """One delivered entry: an outcome, as bytes and read, or the reason why it cannot be read."""

    key: str
    encoded: EncodedOutcome | None = None
    outcome: Outcome[OutcomeMeta] | None = None
    error: str | None = None
    raw: dict[bytes, bytes] = field(default_factory=dict, repr=False)


class OutcomeStream(GroupStream):
    """Outcomes on their way to the trainer."""

    def __init__(self, client: redis.Redis, stream: str = OUTCOMES, group: str = "trainer"):
        super().__init__(client, stream, group)
        self.dead = f"{stream}:dead"
        self._publish = self.client.register_script(_PUBLISH_ONCE)

    def publish(self, outcome: EncodedOutcome, worker: str | None = None, sequence: int | None = None) -> bool:
        """Add an outcome; False when this worker has already sent this sequence number (a retry).

        Sequence numbers rise within a worker. Raises redis.RedisError when the queue is away or full
        (`maxmemory` with `noeviction`): keep the outcome and try again later.
        """
        arguments: list[Any] = ["", 0] if worker is None else [worker, sequence]
        for name, value in outcome.fields().items():
            arguments += [name, value]
        types = {self.stream: "stream", f"{self.stream}:sent": "hash", f"{self.stream}:sequence": "hash"}
        return bool(of_type(self.client, types, lambda: self._publish(keys=list(types), args=arguments)))

    def sent(self) -> dict[str, int]:
        """Outcomes that each worker has had acknowledged by the queue, ever."""
        rows = self.client.hgetall(f"{self.stream}:sent").items()
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

    def dead_letter(self, entry: StreamEntry, reason: str) -> None:
        """Move an entry to the dead stream with the reason (long fields are cut), and acknowledge it."""
        fields = {name: value[:DEAD_FIELD_BYTES] for name, value in entry.raw.items()}
        fields |= {b"key": entry.key.encode(), b"reason": reason.encode(errors="replace")}

        def move() -> None:
            transaction = self.client.pipeline(transaction=True)
            transaction.xadd(self.dead, cast(Any, fields), maxlen=DEAD_LETTERS_KEPT)
            transaction.xack(self.stream, self.group, entry.key)
            transaction.execute()

        of_type(self.client, {self.dead: "stream"}, move)


def _entry(key: bytes, fields: dict[bytes, bytes]) -> StreamEntry:
    try:
        encoded, outcome = read_entry(fields)
    except UnreadableOutcome as error:
        return StreamEntry(key.decode(), error=str(error), raw=fields)
    except Exception as error:  # whatever an entry holds must not end its reader, now and at each start
        return StreamEntry(key.decode(), error=f"cannot be read: {error!r}", raw=fields)
    return StreamEntry(key.decode(), encoded, outcome, raw=fields)
