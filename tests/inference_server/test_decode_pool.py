"""The decoding threads: fair between clients by what they decode, and idle for whoever is late or gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from waiting import PATIENCE, FakeClock

from grasp_client.imaging import ImageError, ImageLimits
from inference_server.decoding.pool import QUICK_PIXELS, DecodePool
from inference_server.errors import ServerError
from inference_server.metrics import Metrics

LARGE = 2 * QUICK_PIXELS


@pytest.fixture
def pool() -> Iterator[DecodePool]:
    made = DecodePool(1, ImageLimits(max_pixels=8 * QUICK_PIXELS), Metrics(), FakeClock().monotonic)
    made.start()
    yield made
    made.close()


class Decoder:
    """Decodes images of so many pixels once it may, and remembers in which order and thread."""

    def __init__(self) -> None:
        self.opened, self.entered = threading.Event(), threading.Event()
        self.decoded: list[str] = []
        self.threads: dict[str, str] = {}

    def __call__(self, name: str, pixels: int, limits: ImageLimits) -> str:
        for _ in range(2):
            limits.check_pixels(1000, max(1, pixels // 2000))
        self.entered.set()
        assert self.opened.wait(PATIENCE)
        self.decoded.append(name)
        self.threads[name] = threading.current_thread().name
        return name


def run(coroutine: Coroutine[Any, Any, Any]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, PATIENCE))


async def started(pool: DecodePool, decoder: Decoder, client: str, name: str, pixels: int, seconds: float = PATIENCE) -> Any:
    """A task that waits in its line."""
    task = asyncio.create_task(pool.decode(client, 1000.0 + seconds, decoder, name, pixels))
    for _ in range(3):
        await asyncio.sleep(0)
    return task


def test_large_images_do_not_hold_up_small_ones(pool: DecodePool) -> None:
    async def scene() -> None:
        slow, quick = Decoder(), Decoder()
        quick.opened.set()
        flood = [await started(pool, slow, "flood", f"large {k}", LARGE) for k in range(24)]
        assert await asyncio.to_thread(slow.entered.wait, PATIENCE)
        assert await pool.decode("other", 1000 + PATIENCE, quick, "small", 1000) == "small"
        assert not slow.decoded
        slow.opened.set()
        await asyncio.gather(*flood)
        assert set(slow.threads.values()) == {"decode_large"} != set(quick.threads.values())

    run(scene())


def test_lines_are_charged_by_pixels(pool: DecodePool) -> None:
    async def scene() -> None:
        decoder = Decoder()
        first = await started(pool, decoder, "x", "first", LARGE)
        assert await asyncio.to_thread(decoder.entered.wait, PATIENCE)
        waiting = [await started(pool, decoder, "x", f"x{k}", 3 * LARGE) for k in range(2)]
        waiting += [await started(pool, decoder, "y", f"y{k}", LARGE) for k in range(4)]
        while len(pool._large) < len(waiting):  # each has been tried by the quick thread
            await asyncio.sleep(0.001)
        decoder.opened.set()
        await asyncio.gather(first, *waiting)
        order = decoder.decoded
        assert order.index("y2") < order.index("x1"), order

    run(scene())


def test_past_its_deadline_a_request_gets_504_and_is_never_decoded(pool: DecodePool) -> None:
    async def scene() -> None:
        decoder = Decoder()
        first = await started(pool, decoder, "x", "first", 1000)
        assert await asyncio.to_thread(decoder.entered.wait, PATIENCE)
        with pytest.raises(ServerError) as late:
            await pool.decode("x", 1000.02, decoder, "late", 1000)
        assert late.value.status == 504
        decoder.opened.set()
        await first
        await pool.decode("x", 1000 + PATIENCE, decoder, "last", 1000)
        assert decoder.decoded == ["first", "last"]

    run(scene())


def test_who_has_left_is_not_decoded_for(pool: DecodePool) -> None:
    async def scene() -> None:
        decoder = Decoder()
        first = await started(pool, decoder, "x", "first", 1000)
        assert await asyncio.to_thread(decoder.entered.wait, PATIENCE)
        gone = await started(pool, decoder, "x", "gone", 1000)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert len(pool._quick) == 0
        decoder.opened.set()
        await first
        await pool.decode("x", 1000 + PATIENCE, decoder, "last", 1000)
        assert decoder.decoded == ["first", "last"]

    run(scene())


def test_errors_come_through(pool: DecodePool) -> None:
    async def scene() -> None:
        decoder = Decoder()
        decoder.opened.set()
        with pytest.raises(ImageError) as refused:
            await pool.decode("x", 1000 + PATIENCE, decoder, "huge", 20 * QUICK_PIXELS)
        assert refused.value.status == 413
        with pytest.raises(ZeroDivisionError):
            await pool.run("x", 1000 + PATIENCE, lambda: 1 // 0)
        assert await pool.run("x", 1000 + PATIENCE, str, 5) == "5"

    run(scene())
