"""What the server refuses this worker, such as plans of a jaw's planner while its gripper is a cup."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from shared.retrying import FIRST_PAUSE, LONGEST_PAUSE

IN_A_ROW = 3
"""So many refusals without an answer in between are the planner's: one may be of a request that is odd."""
LAST_SECONDS = 60.0
"""What was refused is tried again after so long: the server may have got what it lacked."""


@dataclass
class _Refusal:
    reason: str
    count: int
    at: float


class Refusals:
    """The server's refusals by planner, since it last answered for it. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._of: dict[str, _Refusal] = {}

    def note(self, planner: str, reason: str) -> float:
        """Note a refusal; returns how many seconds to wait then: with each more, so that neither server nor log is flooded."""
        count = self._of[planner].count + 1 if planner in self._of else 1
        self._of[planner] = _Refusal(reason, count, self._clock())
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(count - 1, 10))

    def answered(self, planner: str) -> None:
        self._of.pop(planner, None)

    def now(self) -> dict[str, str]:
        """Planners that are refused, and why."""
        since = self._clock() - LAST_SECONDS
        return {name: each.reason for name, each in self._of.items() if each.count >= IN_A_ROW and each.at > since}
