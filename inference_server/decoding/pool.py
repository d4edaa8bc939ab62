"""The threads that decode: fair between clients, charged by pixels, and never busy for a request that is late or gone."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from grasp_client.imaging import ImageLimits
from inference_server.batching.fair_queue import Entry, FairQueue
from inference_server.batching.refusals import expired
from inference_server.metrics import Metrics

QUICK_PIXELS = 2**21
"""Images of one request up to so many pixels in all, 1280 x 720 of depth and of colour, are decoded in about 20 ms."""
NICENESS = 10
"""Of the thread that decodes larger ones: whoever waits for less comes first on a busy machine."""

Result = TypeVar("Result")


class LargeImages(Exception):
    """The images of a request have more pixels than the threads for quick ones take."""

    def __init__(self, pixels: int):
        self.pixels = pixels


@dataclass(frozen=True)
class CountingLimits(ImageLimits):
    """Counts the pixels of every image that is let in, before it is decoded."""

    most_in_all: int = sys.maxsize
    counted: list[int] = field(default_factory=list)

    def check_pixels(self, height: int, width: int) -> None:
        """Raises also LargeImages."""
        super().check_pixels(height, width)
        self.counted.append(height * width)
        if sum(self.counted) > self.most_in_all:
            raise LargeImages(sum(self.counted))


@dataclass(eq=False)
class _Task(Entry):
    """run() resolves the future; where it decodes images, `limits` counts their pixels."""

    run: Callable[[], Any]
    future: asyncio.Future[Any]
    limits: CountingLimits | None


class DecodePool:
    """`threads` for what is quick, and one more for images of more than QUICK_PIXELS. `start` before use."""

    def __init__(self, threads: int, limits: ImageLimits, metrics: Metrics, clock: Callable[[], float] = time.monotonic):
        self._limits, self._metrics, self._clock = limits, metrics, clock
        # Whoever decodes holds a place of the batcher's queue, or sends a body: both are bounded.
        self._quick: FairQueue[_Task] = FairQueue(sys.maxsize)
        self._large: FairQueue[_Task] = FairQueue(sys.maxsize)
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._work, args=(self._quick, 0), name=f"decode_{k}", daemon=True) for k in range(threads)
        ]
        self._threads.append(
            threading.Thread(target=self._work, args=(self._large, NICENESS), name="decode_large", daemon=True)
        )

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Drop what waits; what is being decoded ends by itself."""
        self._stopped = True
        for queue in (self._quick, self._large):
            for task in queue.clear():
                _resolve(task.future, task.future.cancel)
            queue.call(None)

    async def decode(self, client: str, deadline: float, function: Callable[..., Result], *arguments: Any) -> Result:
        """`function(*arguments, limits)`, which decodes images.

        Raises what it raises, and ServerError 504 once the deadline (an instant of the clock) has passed.
        """
        try:
            limits = CountingLimits(self._limits.max_pixels, self._limits.max_bytes, QUICK_PIXELS)
            return await self._run(self._quick, client, deadline, lambda: function(*arguments, limits), limits)
        except LargeImages as large:
            limits, cost = CountingLimits(self._limits.max_pixels, self._limits.max_bytes), float(large.pixels)
        return await self._run(self._large, client, deadline, lambda: function(*arguments, limits), limits, cost)

    async def run(self, client: str, deadline: float, function: Callable[..., Result], *arguments: Any) -> Result:
        """`function(*arguments)`, something quick that would yet hold up the event loop. Raises as `decode`."""
        return await self._run(self._quick, client, deadline, lambda: function(*arguments), None)

    async def _run(
        self,
        queue: FairQueue[_Task],
        client: str,
        deadline: float,
        run: Callable[[], Result],
        limits: CountingLimits | None,
        cost: float = QUICK_PIXELS / 8,
    ) -> Result:
        loop = asyncio.get_running_loop()
        task = _Task(client, None, 1, run, loop.create_future(), limits, cost=cost)
        timer = loop.call_at(loop.time() + max(0.0, deadline - self._clock()), self._expire, task)
        queue.reserve(client)
        queue.put(task)
        try:
            result: Result = await task.future
            return result
        finally:
            timer.cancel()
            queue.withdraw(task)  # if it still waits, nobody waits for it any more

    def _expire(self, task: _Task) -> None:
        if not task.future.done():
            self._metrics.expired.inc()
            task.future.set_exception(expired())

    def _work(self, queue: FairQueue[_Task], niceness: int) -> None:
        if niceness and sys.platform == "linux":  # where threads have priorities of their own
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
        while not self._stopped:
            for task in queue.take()[1]:
                if not task.future.done():
                    self._answer(task)
                    if task.limits is not None:
                        queue.charge(task.client, sum(task.limits.counted) - task.cost)
                del task  # while it waits for more it must not keep this one's body and image
        queue.call(None)  # wakes the next thread, which stops too

    def _answer(self, task: _Task) -> None:
        try:
            result = task.run()
        except BaseException as error:
            _resolve(task.future, task.future.set_exception, error)
        else:
            _resolve(task.future, task.future.set_result, result)


def _resolve(future: asyncio.Future[Any], end: Callable[..., Any], *arguments: Any) -> None:
    """Settle a future in its event loop, unless it is settled or the loop is gone."""

    def settle() -> None:
        if not future.done():
            end(*arguments)

    with suppress(RuntimeError):
        future.get_loop().call_soon_threadsafe(settle)
