"""Harder as it succeeds: the level of difficulty that several worlds share."""

from collections import deque
from typing import Any

WINDOW = 10
"""Last episodes that count."""


class Curriculum:
    """Levels 0 to `last`; a level is passed when `needed` of the last WINDOW episodes on it succeeded. start: level to begin
    at."""

    def __init__(self, last: int, start: int = 0, needed: int = 8) -> None:
        if not 0 <= start <= last:
            raise ValueError(f"expected a level of 0 to {last}, got {start}")
        self.last, self.level, self.needed = last, start, needed
        self._recent: deque[bool] = deque(maxlen=WINDOW)

    def add(self, success: bool) -> None:
        """Note how an episode ended."""
        self._recent.append(success)
        if self.level < self.last and len(self._recent) == WINDOW and sum(self._recent) >= self.needed:
            self.level += 1
            self._recent.clear()

    def state(self) -> dict[str, Any]:
        return {"level": self.level, "recent": list(self._recent)}

    def load(self, state: dict[str, Any]) -> None:
        self.level = state["level"]
        self._recent = deque(state["recent"], maxlen=WINDOW)
