"""One request on its way to a planner, and what it may take: bytes of its body, seconds to send it, seconds to be answered."""

import asyncio
import ctypes
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio
from fastapi import Request

from inference_server.batching.batcher import QueueSlot
from inference_server.errors import ServerError

BODY_SECONDS = 30.0
"""Longest that a client may take to send a body."""
BODIES_AT_ONCE = 16
"""Bodies of the largest size that may be in memory, from their first byte to their reply."""
BODIES_OF_ONE = 8
"""Of these for one client."""
READERS = 256
"""Bodies of any size that may be arriving at once: beyond it, answering 429 is cheaper than receiving what will be late."""
READERS_OF_ONE = 192
"""Of these for one client, so that one that sends slowly does not keep all others out."""


JSON_BYTES = 8 * 2**20
"""Most JSON that any body has: 640 x 480 numbers with all their digits are 6 MB."""
LARGE_BYTES = 4 * 2**20
TRIM_SECONDS = 1.0
"""How long after a large body the memory is looked at, once for all that came meanwhile."""
_MALLOC_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""Of the GNU C library; other allocators have none."""


def check_json(size: int, most_bytes: int, what: str) -> None:
    """Raises ServerError 413 for JSON so long that to parse it would cost more than what is asked for."""
    if size > most_bytes:
        message = f"{what}: {size} bytes, at most {most_bytes} are read; images and tensors go as binary data, see /docs"
        raise ServerError(413, "json_too_large", message)


class BodyReader:
    """Receives bodies within limits: of one body, and of all that are in memory together.

    FastAPI's `max_body_size` knows one body only, and answers an announced excess with text/plain, also in place of a 401.
    """

    def __init__(self, max_bytes: int, seconds: float = BODY_SECONDS):
        self.max_bytes, self._seconds = max_bytes, seconds
        self.in_memory: Counter[str] = Counter()
        """Bytes of bodies by client."""
        self._readers: Counter[str] = Counter()
        self._trimming = False

    async def read(self, request: Request, client: str) -> bytes:
        """The whole body.

        Raises ServerError 413 as soon as it is too large, announced or not, 408 when it is slow, and 429 before a byte is read
        when too many are arriving.
        """
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self.max_bytes:
            raise self._too_large()
        if announced.isdigit() and request.headers.get("content-type", "").startswith("application/json"):
            check_json(int(announced), JSON_BYTES, "JSON")
        chunks: list[bytes] = []
        with self._reader(client), self.hold(client) as add:
            try:
                with anyio.fail_after(self._seconds):
                    async for chunk in request.stream():
                        chunks.append(chunk)
                        add(len(chunk))
            except TimeoutError:
                raise ServerError(408, "body_timeout", f"the body did not arrive within {self._seconds:g} s") from None
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    @contextmanager
    def hold(self, client: str, size: int = 0) -> Iterator[Callable[[int], None]]:
        """Count a body of `size` bytes, and those added to it, until the block ends."""

        def add(count: int) -> None:
            nonlocal size
            size += count
            self.in_memory[client] += count
            if size > self.max_bytes:
                raise self._too_large()
            if (
                self.in_memory.total() > self.max_bytes * BODIES_AT_ONCE
                or self.in_memory[client] > self.max_bytes * BODIES_OF_ONE
            ):
                raise busy()

        self.in_memory[client] += size
        try:
            yield add
        finally:
            self.in_memory[client] -= size
            if not self.in_memory[client]:
                del self.in_memory[client]
            if size > LARGE_BYTES and not self._trimming:
                self._trimming = True
                asyncio.get_running_loop().call_later(TRIM_SECONDS, self._trim)

    def _trim(self) -> None:
        """Have the allocator give memory back, which it else keeps for a next body of the size."""
        self._trimming = False
        if _MALLOC_TRIM is not None:
            asyncio.get_running_loop().run_in_executor(None, _MALLOC_TRIM, 0)

    @contextmanager
    def _reader(self, client: str) -> Iterator[None]:
        if self._readers.total() >= READERS or self._readers[client] >= READERS_OF_ONE:
            raise busy()
        self._readers[client] += 1
        try:
            yield
        finally:
            self._readers[client] -= 1
            if not self._readers[client]:
                del self._readers[client]

    def _too_large(self) -> ServerError:
        return ServerError(
            413,
            "body_too_large",
            f"the body is larger than {self.max_bytes / 2**20:g} MiB; crop or resize the image, or send fewer",
        )


def busy() -> ServerError:
    return ServerError(429, "too_many_bodies", "too many bodies are arriving at once; send it again", retry_after=1)


@dataclass(frozen=True)
class RequestContext:
    """A request, or a part of one, that has a place in the queue. Times are time.monotonic().

    stages: name to start and seconds of what has been done for it. owner: whose plan it will be.
    """

    id: str
    slot: QueueSlot
    started: float
    deadline: float
    owner: str = field(default="", kw_only=True)
    stages: dict[str, tuple[float, float]] = field(default_factory=dict, kw_only=True)
