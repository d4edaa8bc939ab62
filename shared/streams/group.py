"""A connection to the queue, and a stream that one group of consumers reads."""

import logging
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel

log = logging.getLogger(__name__)

MAX_BLOCK_MS = 5_000
"""Longest wait for an entry in one call."""
SENTINEL_SECONDS = 1.0
"""Longest wait for a sentinel's answer before the next is asked."""


def redacted(url: str) -> str:
    """A queue's URL as it may be said and logged: without its password, wherever that stands."""
    return re.sub(r"(?<=password=)[^&]*", "***", re.sub(r"^([a-z+]+://)?.*@", r"\1***@", url))


def connect(url: str) -> redis.Redis:
    """A client whose socket time-out lies above every block used here (a shorter one breaks blocking reads).

    redis+sentinel://[user:password@]host:port,host:port/SERVICE/db asks sentinels for the primary, rediss+sentinel does so over
    TLS; both take the query's parameters as other URLs do. Raises ValueError for what is no URL of a queue.
    """
    options: dict[str, Any] = {
        "socket_timeout": MAX_BLOCK_MS / 1000 + 10,
        "socket_connect_timeout": 5,
        "health_check_interval": 30,
        "retry": Retry(ExponentialWithJitterBackoff(cap=1, base=0.05), retries=2),
    }
    try:
        return _through_sentinels(url, options) if "+sentinel://" in url else redis.Redis.from_url(url, **options)
    except ValueError:  # its words may hold parts of the password
        raise ValueError(
            f"REDIS_URL {redacted(url)}: expected redis://[user:password@]host:port/db, rediss://… (TLS), unix:///path or "
            "redis+sentinel://[user:password@]host:port,host:port/service/db"
        ) from None


def _through_sentinels(url: str, options: dict[str, Any]) -> redis.Redis:
    """A client of the primary that the sentinels name, asked for again at every new connection."""
    kind, _, rest = url.partition("+sentinel://")
    place, _, query = rest.partition("?")
    place, _, path = place.partition("/")
    account, _, hosts = place.rpartition("@")
    service, _, database = path.partition("/")
    told: dict[str, Any] = parse_url(  # type: ignore[no-untyped-call]
        f"{kind}://{account + '@' if account else ''}host/{database or 0}{'?' + query if query else ''}"
    )
    secure = issubclass(told.pop("connection_class", redis.Connection), redis.SSLConnection)
    told = {name: value for name, value in told.items() if name not in ("host", "port")} | options | {"ssl": secure}
    addresses = [(host, int(port)) for host, _, port in (each.rpartition(":") for each in hosts.split(","))]
    if not (service and all(host for host, _ in addresses) and kind in ("redis", "rediss")):
        raise ValueError("no service or host")
    asking = {name: value for name, value in told.items() if name not in ("db", "username", "password")}
    asking["socket_timeout"] = SENTINEL_SECONDS
    sentinels = Sentinel(addresses, sentinel_kwargs=asking, **told)  # type: ignore[no-untyped-call]
    primary: redis.Redis = sentinels.master_for(service)  # type: ignore[no-untyped-call]
    return primary


def of_type(client: Any, keys: Mapping[str, str], call: Callable[[], Any]) -> Any:
    """Result of `call`. What lies at one of its keys and is not of the key's type is nobody's here: it is renamed."""
    try:
        return call()
    except redis.ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
    for key, expected in keys.items():
        found = client.type(key).decode()
        if found not in (expected, "none"):
            client.rename(key, f"{key}:{found}")
            log.error("key of the queue set aside", extra={"key": key, "type": found, "expected": expected})
    return call()


class GroupStream:
    """One stream read by one consumer group."""

    def __init__(self, client: redis.Redis, stream: str, group: str):
        self.client: Any = client
        self.stream = stream
        self.group = group

    def create_group(self) -> None:
        """Make stream and group where they are missing; a new group starts at the oldest entry."""
        try:
            create = partial(self.client.xgroup_create, self.stream, self.group, id="0", mkstream=True)
            of_type(self.client, {self.stream: "stream"}, create)
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

    def _grouped(self, call: Callable[[], Any]) -> Any:
        try:
            return of_type(self.client, {self.stream: "stream"}, call)
        except redis.ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self.create_group()
            return call()

    def pending(self) -> int:
        """Entries delivered and not yet acknowledged."""
        return int(self._grouped(lambda: self.client.xpending(self.stream, self.group))["pending"])

    def lag(self) -> int:
        """Entries that no consumer has read yet: where the queue cannot tell, at most so many (those that are acknowledged and
        not trimmed yet count too), and 0 only where there is none."""
        info = self._group_info()
        if info.get("lag") is not None:
            return int(info["lag"])
        if not self.client.xrange(self.stream, min=f"({info['last-delivered-id'].decode()}", count=1):
            return 0
        return max(1, int(self.client.xlen(self.stream)) - int(info["pending"]))

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
                return dict(info)
        raise redis.ResponseError(f"NOGROUP {self.group} on {self.stream}")


def _flat(entries: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    # RESP3 wraps a stream's entries in one more list than RESP2.
    return (
        entries[0] if entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], tuple) else entries
    )
