"""Redis streams: outcomes from the workers to the trainer, scene tickets from the trainer to the workers.

Only commands that Redis 7 and Valkey both know. An outcome is delivered at least once; its id lets the reader drop
repeats. Nothing unread or unacknowledged is ever trimmed.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import redis
from pydantic import ValidationError
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from grasp_client.contract import SCHEMA_VERSION, Outcome, OutcomeMeta, SceneRequest

OUTCOMES, TICKETS, WORKERS, TRAINERS = "grasp:outcomes", "grasp:tickets", "grasp:workers", "grasp:trainers"
MAX_BLOCK_MS = 5_000
DEAD_LETTERS_KEPT = 10_000
DEAD_FIELD_BYTES = 65_536
_IMAGE_FIELDS_RESERVED = frozenset({"v", "id", "meta"})

# One atomic step: an outcome whose sequence number this worker has already sent is not added again, so a retry after a
# lost reply neither duplicates the entry nor counts it twice.
_PUBLISH_ONCE = """
if ARGV[1] ~= '' then
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


def connect(url: str) -> redis.Redis:
    """A client whose socket time-out lies above every block used here (a shorter one breaks blocking reads)."""
    return redis.Redis.from_url(
        url,
        socket_timeout=MAX_BLOCK_MS / 1000 + 10,
        socket_connect_timeout=5,
        health_check_interval=30,
        retry=Retry(ExponentialWithJitterBackoff(cap=1, base=0.05), retries=2),
    )


@dataclass(frozen=True)
class StreamEntry:
    """One delivered entry: an outcome, or the reason why it cannot be read."""

    key: str
    outcome: Outcome | None
    error: str | None = None
    raw: dict[bytes, bytes] = field(default_factory=dict, repr=False)


def encode_outcome(outcome: Outcome) -> dict[str, bytes]:
    """Stream fields of an outcome. Raises ValueError when images and `meta.images` do not agree."""
    if set(outcome.images) != set(outcome.meta.images) or _IMAGE_FIELDS_RESERVED & set(outcome.images):
        raise ValueError(f"images {sorted(outcome.images)} do not match meta.images {sorted(outcome.meta.images)}")
    fields = {"v": SCHEMA_VERSION.encode(), "id": outcome.id.encode(), "meta": outcome.meta.model_dump_json().encode()}
    for name, image in outcome.images.items():
        spec = outcome.meta.images[name]
        if list(image.shape) != spec.shape or image.dtype != np.dtype(spec.dtype):
            raise ValueError(f"image {name!r} is {image.dtype} {list(image.shape)}, meta.images says {spec.dtype} {spec.shape}")
        fields[name] = np.ascontiguousarray(image).astype(np.dtype(spec.dtype).newbyteorder("<"), copy=False).tobytes()
    return fields


def decode_outcome(fields: dict[bytes, bytes]) -> Outcome:
    """The outcome of stream fields. Raises ValueError with the reason when they cannot be read."""
    version = fields.get(b"v", b"").decode(errors="replace")
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema version is {version or 'missing'}, this reader knows {SCHEMA_VERSION}")
    missing = {b"id", b"meta"} - set(fields)
    if missing:
        raise ValueError(f"missing fields: {', '.join(sorted(name.decode() for name in missing))}")
    meta = OutcomeMeta.model_validate_json(fields[b"meta"])
    images = {}
    for name, spec in meta.images.items():
        data = fields.get(name.encode())
        if data is None:
            raise ValueError(f"meta.images names {name!r}, but the entry has no such field")
        dtype = np.dtype(spec.dtype).newbyteorder("<")
        expected = int(np.prod(spec.shape)) * dtype.itemsize
        if len(data) != expected:
            raise ValueError(f"image {name!r} has {len(data)} bytes, shape {spec.shape} of {spec.dtype} needs {expected}")
        images[name] = np.frombuffer(data, dtype=dtype).reshape(spec.shape)
    return Outcome(id=fields[b"id"].decode(), meta=meta, images=images)


class _GroupStream:
    """What both streams share: one stream read by one consumer group."""

    def __init__(self, client: redis.Redis, stream: str, group: str):
        self.client: Any = client
        self.stream = stream
        self.group = group

    def create_group(self) -> None:
        """Make stream and group where they are missing; a new group starts at the oldest entry."""
        try:
            self.client.xgroup_create(self.stream, self.group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _read(self, consumer: str, count: int, block_ms: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        block = min(max(block_ms, 0), MAX_BLOCK_MS) or None
        reply = self._grouped(
            lambda: self.client.xreadgroup(self.group, consumer, {self.stream: ">"}, count=count, block=block)
        )
        streams = reply.values() if isinstance(reply, dict) else (entries for _, entries in reply or [])
        return [entry for entries in streams for entry in _flat(entries)]

    def _claim(self, consumer: str, min_idle_ms: int, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        reply = self._grouped(lambda: self.client.xautoclaim(self.stream, self.group, consumer, min_idle_ms, count=count))
        return [entry for entry in reply[1] if entry[1] is not None]

    def _grouped(self, call: Any) -> Any:
        try:
            return call()
        except redis.ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self.create_group()
            return call()

    def pending(self) -> int:
        """Entries delivered and not yet acknowledged."""
        return int(self._grouped(lambda: self.client.xpending(self.stream, self.group))["pending"])

    def lag(self) -> int:
        """Entries that no consumer has read yet."""
        info = self._group_info()
        if info.get("lag") is not None:
            return int(info["lag"])
        last = info["last-delivered-id"].decode()
        return len(self.client.xrange(self.stream, min=f"({last}", count=100_000))

    def trim(self) -> int:
        """Drop what every consumer has acknowledged and return how many entries went."""
        pending = self._grouped(lambda: self.client.xpending(self.stream, self.group))
        if pending["pending"]:
            oldest = pending["min"].decode()
        else:
            milliseconds, sequence = self._group_info()["last-delivered-id"].decode().split("-")
            oldest = f"{milliseconds}-{int(sequence) + 1}"
        return int(self.client.xtrim(self.stream, minid=oldest, approximate=False))

    def _group_info(self) -> dict[str, Any]:
        # Asks first: a full queue refuses to create even what is there already, and must still be read and trimmed.
        try:
            return self._existing_group()
        except redis.ResponseError:
            self.create_group()
            return self._existing_group()

    def _existing_group(self) -> dict[str, Any]:
        for info in self.client.xinfo_groups(self.stream):
            if info["name"] in (self.group, self.group.encode()):
                return info
        raise redis.ResponseError(f"NOGROUP {self.group} on {self.stream}")


class OutcomeStream(_GroupStream):
    """Outcomes on their way to the trainer."""

    def __init__(self, client: redis.Redis, stream: str = OUTCOMES, group: str = "trainer"):
        super().__init__(client, stream, group)
        self.dead = f"{stream}:dead"
        self._publish = self.client.register_script(_PUBLISH_ONCE)

    def publish(self, outcome: Outcome, worker: str | None = None, sequence: int | None = None) -> bool:
        """Add an outcome; False when this worker has already sent this sequence number (a retry).

        Sequence numbers rise within a worker. Raises redis.RedisError when the queue is away or full
        (`maxmemory` with `noeviction`): keep the outcome and try again later.
        """
        arguments: list[Any] = ["", 0] if worker is None else [worker, sequence]
        for name, value in encode_outcome(outcome).items():
            arguments += [name, value]
        keys = [self.stream, f"{self.stream}:sent", f"{self.stream}:sequence"]
        return bool(self._publish(keys=keys, args=arguments))

    def sent(self) -> dict[str, int]:
        """Outcomes that each worker has had acknowledged by the queue, ever."""
        return {name.decode(): int(count) for name, count in self.client.hgetall(f"{self.stream}:sent").items()}

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
        """A pending entry as it lies in the stream: for one that must be buried without trying to read it again."""
        rows = self.client.xrange(self.stream, min=key, max=key)
        return StreamEntry(key, None, raw=rows[0][1] if rows else {})

    def ack(self, keys: list[str]) -> None:
        """Acknowledge entries: call only when what they hold is safe on disk."""
        if keys:
            self.client.xack(self.stream, self.group, *keys)

    def bury(self, entry: StreamEntry, reason: str) -> None:
        """Move an entry to the dead stream with the reason (long fields are cut), and acknowledge it."""
        fields = {name: value[:DEAD_FIELD_BYTES] for name, value in entry.raw.items()}
        transaction = self.client.pipeline(transaction=True)
        fields |= {b"key": entry.key.encode(), b"reason": reason.encode()}
        transaction.xadd(self.dead, cast(Any, fields), maxlen=DEAD_LETTERS_KEPT)
        transaction.xack(self.stream, self.group, entry.key)
        transaction.execute()

    def dead_letters(self, count: int = 100) -> list[tuple[str, str]]:
        """The newest dead letters as (key, reason)."""
        entries = self.client.xrevrange(self.dead, count=count)
        return [(fields[b"key"].decode(), fields[b"reason"].decode()) for _, fields in entries]


class SceneRequestStream(_GroupStream):
    """Scene tickets on their way to the workers."""

    def __init__(self, client: redis.Redis, stream: str = TICKETS, group: str = "workers"):
        super().__init__(client, stream, group)

    def issue(self, ticket: SceneRequest) -> None:
        """Ask the workers for a scene."""
        self.create_group()
        self.client.xadd(self.stream, {"ticket": ticket.model_dump_json()})

    def take(self, consumer: str, block_ms: int = 2_000) -> tuple[str, SceneRequest] | None:
        """The next ticket, waiting up to `block_ms`; None when there is none."""
        return self._first(self._read(consumer, 1, block_ms))

    def claim(self, consumer: str, min_idle_ms: int) -> tuple[str, SceneRequest] | None:
        """A ticket that a worker took and did not finish within `min_idle_ms`, or None."""
        return self._first(self._claim(consumer, min_idle_ms, 1))

    def done(self, key: str) -> None:
        """The ticket's attempts are published: it is not needed any more."""
        transaction = self.client.pipeline(transaction=True)
        transaction.xack(self.stream, self.group, key)
        transaction.xdel(self.stream, key)
        transaction.execute()

    def outstanding(self) -> int:
        """Tickets waiting or being worked on."""
        return int(self.client.xlen(self.stream))

    def _first(self, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> tuple[str, SceneRequest] | None:
        for key, fields in entries:
            try:
                return key.decode(), SceneRequest.model_validate_json(fields.get(b"ticket", b""))
            except ValidationError:  # a ticket of another version: nobody here can run it
                self.done(key.decode())
        return None


class WorkerStatusStore:
    """What each worker last said of itself; for people to look at."""

    def __init__(self, client: redis.Redis, key: str = WORKERS):
        self.client: Any = client
        self.key = key

    def report(self, worker: str, status: dict[str, Any]) -> None:
        """Replace this worker's line."""
        self.client.hset(self.key, worker, json.dumps({**status, "time": time.time()}))

    def read(self, max_age_seconds: float = 60.0) -> dict[str, dict[str, Any]]:
        """Lines of the workers that reported lately."""
        lines = {name.decode(): json.loads(line) for name, line in self.client.hgetall(self.key).items()}
        stale = [name for name, line in lines.items() if line["time"] < time.time() - max_age_seconds]
        if stale:
            self.client.hdel(self.key, *stale)
        return {name: line for name, line in lines.items() if name not in stale}


def _flat(entries: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    # RESP3 wraps a stream's entries in one more list than RESP2.
    return (
        entries[0] if entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], tuple) else entries
    )


def _entry(key: bytes, fields: dict[bytes, bytes]) -> StreamEntry:
    try:
        return StreamEntry(key.decode(), decode_outcome(fields), raw=fields)
    except ValidationError as error:
        first = error.errors()[0]
        return StreamEntry(key.decode(), None, f"meta.{'.'.join(map(str, first['loc']))}: {first['msg']}", fields)
    except (ValueError, UnicodeDecodeError) as error:
        return StreamEntry(key.decode(), None, str(error), fields)
