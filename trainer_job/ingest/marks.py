"""What is stored already, in little memory: of each worker the ranges of its numbers, of others the last ids."""

import threading
from bisect import bisect_right
from pathlib import Path

from shared.shards import Sender, ShardError, ShardReader, shard_folders

WINDOW = 100_000
"""Ids of outcomes without a number that are remembered: one that comes again after so many others is stored again. What the
queue delivers again was not acknowledged, and robots try again within minutes: both lie far within."""


class Marks:
    """Which outcomes are stored.

    A worker numbers its outcomes from 1. They may come late and out of order, from the outbox of one that died, and some
    never (what was put into quarantine): the gaps are kept, so that what fills one is still taken.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self.window = window
        self._ranges: dict[str, list[list[int]]] = {}
        self._ids: dict[str, None] = {}
        self._lock = threading.Lock()  # each worker's numbers are one thread's; ids are of all

    def knows(self, name: str, sender: Sender | None) -> bool:
        """Whether the outcome of this id (and number) is stored."""
        return name in self._ids or (sender is not None and self._has(*sender))

    def add(self, name: str, sender: Sender | None) -> None:
        """An outcome is stored."""
        if sender is not None:
            self.add_range(sender[0], sender[1], sender[1])
            return
        with self._lock:
            self._ids.pop(name, None)
            self._ids[name] = None
            while len(self._ids) > self.window:
                del self._ids[next(iter(self._ids))]

    def add_range(self, worker: str, first: int, last: int) -> None:
        """A worker's outcomes from number `first` to `last` are stored."""
        ranges = self._ranges.setdefault(worker, [])
        start = bisect_right(ranges, first - 2, key=lambda each: each[1])
        stop = bisect_right(ranges, last + 1, key=lambda each: each[0])
        merged = [*ranges[start:stop], [first, last]]
        ranges[start:stop] = [[min(low for low, _ in merged), max(high for _, high in merged)]]

    def add_shard(self, shard: ShardReader) -> None:
        """What a shard holds, and what of it is not kept any more."""
        for worker, ranges in shard.numbers.items():
            for first, last in ranges:
                self.add_range(worker, first, last)
        names = shard.ids()
        for row in shard.unnumbered:
            self.add(names[row], None)

    def _has(self, worker: str, number: int) -> bool:
        ranges = self._ranges.get(worker, [])
        place = bisect_right(ranges, number, key=lambda each: each[0])
        return place > 0 and number <= ranges[place - 1][1]


def stored(directory: Path) -> Marks:
    """What the shards in `directory` hold, oldest first. Raises ShardError at a damaged one."""
    marks, read = Marks(), set[str]()
    while new := [folder for folder in shard_folders(directory) if folder.name not in read]:
        for folder in new:
            read.add(folder.name)
            try:
                marks.add_shard(ShardReader(folder))
            except ShardError:
                if folder.exists():  # else another was just written in its place
                    raise
    return marks
