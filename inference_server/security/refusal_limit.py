"""How many errors an address is told per second."""

import time
from collections import OrderedDict
from collections.abc import Callable

LONGEST_DELAY = 5.0
"""Seconds."""
ADDRESSES = 4096
"""Of whom refusals are remembered."""


class RefusalLimit:
    """Lets an address have so many of its requests refused per second, and one second's worth at once; more are told later.

    To refuse costs little, but somebody who asks again at once costs everybody the time of the event loop.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic):
        self._per_second, self._clock = per_second, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def delay(self, address: str, weight: float = 1.0) -> float:
        """Count one more refusal; seconds until it may be told."""
        now = self._clock()
        level, then = self._levels.pop(address, (0.0, now))
        level = max(0.0, level - (now - then) * self._per_second) + weight
        self._levels[address] = level, now
        if len(self._levels) > ADDRESSES:
            self._levels.popitem(last=False)
        return min(LONGEST_DELAY, max(0.0, level / self._per_second - 1))
