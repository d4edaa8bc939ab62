"""A bounded queue that is fair between clients: one line for each, and next is whose line has cost least.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): a line's next job begins where its last one ended in virtual time, which
every job moves on by its cost. So a line of expensive jobs waits for many cheap ones of others.

When the queue is full, a client that holds less than the longest line takes the place of that line's newest job, so a flood
never shuts out a trickle of others. A place is reserved before the image is decoded, so what is being decoded counts.
"""

import math
import threading
from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar


class QueueFull(Exception):
    """No place is left for this client."""


@dataclass(eq=False)
class Entry:
    """What the queue needs to know of a job: whose it is, what it can be batched with, how many at most, and what it costs."""

    client: str
    group: Hashable
    most: int
    cost: float = field(default=1.0, kw_only=True)
    """In any unit, the same for all jobs of a queue."""


Job = TypeVar("Job", bound=Entry)
DEARER = 4.0
"""A job that costs so many times another one may be overtaken by it."""
BATCHED_WITHIN = 8.0
"""Jobs of one group go into one batch where none costs more than so many times another: the cheap ones wait for the dear."""


class FairQueue(Generic[Job]):
    """Thread-safe. `taken` counts the places of all clients: jobs that wait, and jobs that are being decoded."""

    def __init__(self, size: int):
        self.size, self.taken = size, 0
        self.lines: dict[str, deque[Job]] = {}
        """Jobs that wait, by client; empty when none does."""
        self._places: Counter[str] = Counter()
        self._begins: dict[str, float] = {}
        """Virtual time at which the next job of a client begins."""
        self._now = 0.0
        self._changed = threading.Condition()
        self._calls: deque[Any] = deque()

    def __len__(self) -> int:
        return self.taken

    def reserve(self, client: str) -> Job | None:
        """Take a place; returns the job of a longer line that had to give way, if any. Raises QueueFull."""
        with self._changed:
            evicted = self._make_room(client) if self.taken >= self.size else None
            self._places[client] += 1
            self.taken += 1
            return evicted

    def places(self, client: str) -> int:
        """Places that a client holds."""
        return self._places.get(client, 0)

    def ahead(self, client: str) -> int:
        """Jobs that are served before the next one of this client, where all cost the same: lines are served in turn."""
        with self._changed:
            mine = self._places[client]
            return sum(min(places, mine + 1) for places in self._places.values())

    def has_room(self, client: str) -> bool:
        """Whether `reserve` would find a place."""
        with self._changed:
            return self.taken < self.size or self._gives_way(client) is not None

    def release(self, client: str) -> None:
        """Give a place back."""
        with self._changed:
            self._leave(client)

    def put(self, job: Job) -> int:
        """Let a job wait in the place that its client has reserved; returns how many places that client holds."""
        with self._changed:
            if job.client not in self.lines:
                self.lines[job.client] = deque()
                self._begins[job.client] = max(self._now, self._begins.get(job.client, 0.0))
            self.lines[job.client].append(job)
            self._changed.notify()
            return self._places[job.client]

    def charge(self, client: str, cost: float) -> None:
        """Add what a job of a client has cost beyond what was said of it (less, where negative)."""
        with self._changed:
            if self.lines:
                self._begins[client] = max(self._now, self._begins.get(client, self._now) + cost)

    def withdraw(self, job: Job) -> bool:
        """Take out a job that nobody waits for any more; False when it is not waiting."""
        with self._changed:
            line = self.lines.get(job.client)
            if line is None or job not in line:
                return False
            line.remove(job)
            if not line:
                del self.lines[job.client]
            self._leave(job.client)
            return True

    def call(self, function: Any) -> None:
        """Hand over a function that `take` returns before any job: work to be done between batches."""
        with self._changed:
            self._calls.append(function)
            self._changed.notify()

    def take(self, timeout: float | None = None) -> tuple[list[Any], list[Job]]:
        """Functions handed over, and the next batch: jobs of one group, a round over the lines at a time.

        Never waits for a batch to fill. Both lists are empty when nothing came within `timeout` seconds.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.lines or self._calls, timeout)
            calls, jobs = list(self._calls), self._batch(math.inf)
            self._calls.clear()
            return calls, jobs

    def take_below(self, cost: float) -> list[Job]:
        """The next batch of jobs that cost less than so much each; empty when none waits."""
        with self._changed:
            return self._batch(cost)

    def clear(self) -> list[Job]:
        """Take out all waiting jobs."""
        with self._changed:
            jobs = [job for line in self.lines.values() for job in line]
            self.lines.clear()
            for job in jobs:
                self._leave(job.client)
            return jobs

    def _make_room(self, client: str) -> Job:
        longest = self._gives_way(client)
        if longest is None:
            raise QueueFull
        job = self.lines[longest].pop()
        if not self.lines[longest]:
            del self.lines[longest]
        self._leave(longest)
        return job

    def _gives_way(self, client: str) -> str | None:
        """The client with the longest line, if it holds more than this one would."""
        longest = max(self.lines, key=lambda other: self._places[other], default=client)
        return None if longest == client or self._places[longest] <= self._places[client] + 1 else longest

    def _batch(self, below: float) -> list[Job]:
        jobs: list[Job] = []
        found = True
        while found and self.lines:
            found = False
            for client in sorted(self.lines, key=self._begins.__getitem__):
                if jobs and len(jobs) >= jobs[0].most:
                    return jobs
                line = self.lines[client]
                if line[0].cost >= below or (jobs and not _go_together(line[0], jobs[0])):
                    continue
                if not jobs:
                    self._now = max(self._now, self._begins[client])
                found = True
                jobs.append(line.popleft())
                self._begins[client] += jobs[-1].cost
                if not line:
                    del self.lines[client]
                self._leave(client)
        return jobs

    def _forget(self) -> None:
        """Drop what no longer tells clients apart: all when nobody waits, else who is not ahead of the others."""
        if not self.lines:
            self._begins.clear()
            self._now = 0.0
        elif len(self._begins) > 2 * len(self.lines) + 64:
            self._begins = {who: begin for who, begin in self._begins.items() if who in self.lines or begin > self._now}

    def _leave(self, client: str) -> None:
        self.taken -= 1
        self._places[client] -= 1
        if self._places[client] <= 0:
            del self._places[client]
        self._forget()


def _go_together(one: Entry, other: Entry) -> bool:
    return one.group == other.group and max(one.cost, other.cost) <= BATCHED_WITHIN * min(one.cost, other.cost)
