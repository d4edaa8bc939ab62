"""How many examples tests of properties try: few in the fast suite, more in CI, the same every time; many new ones with `long`.

pytest -m hypothesis --hypothesis-profile long
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

# Hypothesis mixes in the numbers and texts of all local modules that are loaded: examples would then depend on which tests ran
# before, and on every line of the project.
providers._get_local_constants = lambda: providers._local_constants

TIMES = {"fast": 1, "ci": 4, "long": 40}
"""So many times the examples of the fast suite, by profile."""

for name in TIMES:
    # How long one example takes tells how busy the machine is, and nothing of what is tested.
    repeats = {"print_blob": True} if name == "long" else {"derandomize": True}
    settings.register_profile(name, deadline=None, suppress_health_check=list(HealthCheck), **repeats)
settings.load_profile("fast")


def examples(count: int, long: int | None = None) -> settings:
    """Settings of a test that tries `count` examples in the fast suite, and `long` with that profile, whatever TIMES says."""
    profile = settings.get_current_profile_name()
    return settings(max_examples=long if long and profile == "long" else count * TIMES[profile])
