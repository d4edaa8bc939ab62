"""A pool of processes of which none stays behind, however the command that started it ends."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import wraps
from multiprocessing import active_children, get_context, parent_process
from types import FrameType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
EMPTY_PARTS = 10
"""So many parts in a row without content: there is nothing to be had."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came: as Ctrl-C, but another exit status."""


def exit_status(stopped: KeyboardInterrupt) -> int:
    """Of a command that was stopped, as shells have it: 128 plus the number of the signal."""
    return 128 + (signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT)


@contextmanager
def process_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool for the block. Left by an error or a signal, the processes are ended at once and what they do is lost.

    SIGTERM raises Terminated inside the block. Use it in the main thread.
    """
    others = set(active_children())
    usual = signal.signal(signal.SIGTERM, _terminated)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_end_with_parent)
    try:
        yield pool
    except BaseException:
        for process in set(active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        signal.signal(signal.SIGTERM, usual)


def readable_errors(function: Callable[P, T]) -> Callable[P, T]:
    """The function for a process of the pool: not every error survives the way back between processes, its words do."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise RuntimeError(f"{type(error).__name__}: {error}") from None

    return call


def as_made(
    pool: ProcessPoolExecutor,
    workers: int,
    make: Callable[[int], T],
    numbers: Iterator[int],
    size: Callable[[T], int],
    wanted: int,
    expected: int,
) -> Iterator[T]:
    """Parts that `make` makes of numbers, as they finish, until they hold `wanted` things together; a part is expected to hold
    `expected` and holds `size` of it. Raises ValueError when EMPTY_PARTS parts in a row hold nothing."""
    pending: set[Future[T]] = set()
    empty = 0
    while True:
        while len(pending) < workers and len(pending) * expected < wanted:
            pending.add(pool.submit(make, next(numbers)))
        if not pending:
            return
        finished, pending = wait(pending, return_when=FIRST_COMPLETED)
        for part in (future.result() for future in finished):
            held = size(part)
            wanted, empty = wanted - held, 0 if held else empty + 1
            yield part
        if empty >= EMPTY_PARTS:
            raise ValueError(f"{EMPTY_PARTS} parts in a row came out empty: are there objects in this object set?")


def _terminated(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _end_with_parent() -> None:
    """Leave Ctrl-C to the parent, which the terminal tells as well; follow it when it goes, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
