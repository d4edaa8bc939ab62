"""Automatic rollback: a new champion that does significantly worse in service than its predecessor did goes again."""

import math
from collections.abc import Sequence
from typing import Any

from shared.rates import rate_with_interval

LOOKS = (50, 100, 200, 400, 800)
"""Attempts of the new champion at which it is looked at; testing after every attempt would find a difference by chance."""
Z = 2.576
"""One-sided, 0.5 % at each look: at most 2.5 % of equally good champions are rolled back by chance."""
LEAST_BEFORE = 50
MOST_BEFORE = 2_000
RULE = (
    f"rolled back when, after {', '.join(map(str, LOOKS))} attempts in service, its success rate is below its predecessor's "
    f"by more than {Z} standard errors"
)


def is_regression(new: Sequence[bool], before: Sequence[bool]) -> bool:
    """Whether the new rate lies significantly below the old one (two-proportion test with pooled variance)."""
    n, m = len(new), len(before)
    if n < LOOKS[0] or m < LEAST_BEFORE:
        return False
    pooled = (sum(new) + sum(before)) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return sum(new) / n < sum(before) / m - Z * error


def next_look(new: Sequence[bool], before: Sequence[bool]) -> dict[str, Any] | None:
    """The record of a rollback, if one is due by any look so far; else None.

    new, before: success of each attempt in service, in order, of the champion and of the version that served before it.
    """
    before = before[-MOST_BEFORE:]
    for attempts in LOOKS:
        if len(new) < attempts:
            return None
        if is_regression(new[:attempts], before):
            champion = rate_with_interval(sum(new[:attempts]), attempts)
            predecessor = rate_with_interval(sum(before), len(before))
            reason = f"{champion['rate']:.1%} of {attempts} attempts against {predecessor['rate']:.1%} of {len(before)} before"
            return {"action": "rolled back", "reason": reason, "rule": RULE, "champion": champion, "predecessor": predecessor}
    return None
