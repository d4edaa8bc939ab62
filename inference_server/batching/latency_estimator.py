"""How long waiting will take, learned from how long it took lately: of a job, of a group of jobs, of a client's line."""

import sys
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

BATCH_SECONDS = 0.1
"""A batch is as large as lately took this long: where time grows with the batch (large inputs, a CPU), a larger one only makes
the first wait for the last."""
CAUTION = 2.0
"""Waiting may take this many times what is estimated, when others come that are served first: a request that is refused comes
back, one that is late was work for nobody."""
REMEMBERED = 1024
"""Groups and clients of whom something is remembered."""
SLOW_SECONDS = 0.5
"""A job that takes longer is overtaken by quick ones, so they do not wait for it."""
SLOWEST_FALL = 0.02
"""Weight of a measurement below what was forecast: a sender can make a plan cheap, but the next may cost what was said."""
LEAST_PACE = 0.25
NEWEST = 0.3
"""Weight of the latest measurement in an average."""


class LatencyEstimator:
    """Averages of the latest measurements; the inference thread writes some, the event loop others."""

    def __init__(self) -> None:
        self.seconds_per_job = 0.0
        self.batch_limits: OrderedDict[Hashable, int] = OrderedDict()
        """How many jobs of a group fit into BATCH_SECONDS by what they cost lately, at least 1."""
        self.forecast_ratios: OrderedDict[Hashable, float] = OrderedDict()
        """What a job of a group took, in multiples of what was forecast for it."""
        self._costs: OrderedDict[Hashable, float] = OrderedDict()
        self._paces: OrderedDict[str, float] = OrderedDict()

    def note_batch(self, group: Hashable, seconds: float, full: bool, forecast: float = 0.0) -> None:
        """seconds: of one job of the batch, and what its planner had said."""
        if forecast:
            ratio = self.forecast_ratios.get(group, 1.0)
            weight = NEWEST if seconds > ratio * forecast else SLOWEST_FALL
            _remember(self.forecast_ratios, group, max(LEAST_PACE, ratio + weight * (seconds / forecast - ratio)))
        if full and seconds < SLOW_SECONDS:  # what a job costs when many wait; alone it may cost much more
            self.seconds_per_job += (0.1 if self.seconds_per_job else 1.0) * (seconds - self.seconds_per_job)
        before = self._costs.get(group, seconds)
        cost = before + NEWEST * (seconds - before)
        _remember(self._costs, group, cost)
        _remember(self.batch_limits, group, max(1, int(BATCH_SECONDS / cost)) if cost > 0 else sys.maxsize)

    def note_wait(self, client: str, places: int, seconds: float, answered: bool) -> None:
        """How long the last of a client's `places` jobs took, or waited in vain.

        Others that came later and were served first are in it, and so is what else kept the machine busy.
        """
        pace = seconds / places
        before = self._paces.get(client, pace)
        _remember(self._paces, client, before + NEWEST * (pace - before) if answered else max(before, pace))

    def wait(self, client: str, ahead: int, places: int) -> float:
        """Seconds until one more job of a client would be answered: `ahead` come first, and `places` are its own.

        A client of whom nothing waits is judged by the cost of a job alone: it must be let in to be measured again.
        """
        line = (places + 1) * self._paces.get(client, 0.0) if places else 0.0
        return max(ahead * self.seconds_per_job, line)

    def surely_within(self, client: str, waiting: int, seconds: float) -> bool:
        """Whether CAUTION times `wait` must be less than `seconds` when so many jobs wait altogether; quicker than the wait."""
        return CAUTION * (waiting + 1) * max(self.seconds_per_job, self._paces.get(client, 0.0)) < seconds


def _remember(averages: OrderedDict[Any, Any], key: Hashable, value: float) -> None:
    averages[key] = value
    averages.move_to_end(key)
    if len(averages) > REMEMBERED:
        averages.popitem(last=False)
