"""Who reports outcomes from outside simulation, whom of them the operator trusts, and how much the others may teach."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from trainer_job.data.outcome_index import IndexEntry

ALL = "*"
MAX_NAMED = 20
"""Sources that a card names one by one."""


class Sources:
    """What may be done with the outcomes of each source.

    trusted: comma-separated names, `*` all: their outcomes may decide on versions. Of each other source a round learns from at
    most `max_share` of its outcomes.
    """

    def __init__(self, trusted: str = ALL, max_share: float = 1.0) -> None:
        self.trusted, self.max_share = frozenset(name.strip() for name in trusted.split(",") if name.strip()), max_share

    def trusts(self, record: IndexEntry) -> bool:
        """Simulation, which has the queue's password, or a source that the operator named."""
        return record.scene is not None or ALL in self.trusted or record.source in self.trusted

    def untrusted(self, records: Iterable[IndexEntry]) -> Counter[str]:
        """How many of these outcomes come from each source that is not trusted."""
        return Counter(record.source for record in records if not self.trusts(record))

    def usable(self, records: Sequence[IndexEntry]) -> int:
        """How many of these outcomes a round may learn from."""
        counts = self.untrusted(records)
        certain = len(records) - counts.total()
        cap = self._cap(certain, counts)
        return certain + sum(min(count, cap) for count in counts.values())

    def limit(self, records: Sequence[IndexEntry], places: np.ndarray) -> np.ndarray:
        """Of these places (N,) of records those that a round may learn from: of a source that is not trusted the newest, within
        its share."""
        counts = self.untrusted(records[place] for place in places)
        if not counts:
            return places
        cap = self._cap(len(places) - counts.total(), counts)
        taken, kept = Counter[str](), np.ones(len(places), bool)
        for position in range(len(places) - 1, -1, -1):
            if not self.trusts(record := records[places[position]]):
                taken[record.source] += 1
                kept[position] = taken[record.source] <= cap
        return places[kept]

    def _cap(self, certain: int, counts: Counter[str]) -> int:
        """The largest number of outcomes per source at which none has more than its share of all."""
        cap = max(counts.values(), default=0)
        while (allowed := int(self.max_share * (certain + sum(min(count, cap) for count in counts.values())))) < cap:
            cap = allowed
        return cap


def shares_by_source(records: Sequence[IndexEntry]) -> dict[str, Any]:
    """For a card: the shares of simulation and of each source of robots (the MAX_NAMED largest)."""
    robots = Counter(record.source for record in records if record.scene is None)
    total = max(len(records), 1)
    return {
        "simulation": round(1 - robots.total() / total, 4) if records else 0.0,
        "robots": {readable(name): round(count / total, 4) for name, count in robots.most_common(MAX_NAMED)},
    }


def readable(source: str) -> str:
    """A source's name as it may stand in logs and on screens."""
    return (source if source.isprintable() else ascii(source)) or "unknown"
