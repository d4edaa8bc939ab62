"""How many examples the tests of properties try: few, always the same, in the fast suite; many new ones with profile `long`.

pytest -m hypothesis --hypothesis-profile long
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

LONG = 40
"""So many times more examples with the profile `long`."""

# How long one example takes tells how busy the machine is, and nothing of what is tested.
settings.register_profile("fast", deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
settings.register_profile("long", deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
settings.load_profile("fast")


def examples(count: int) -> settings:
    """Settings of a test that tries `count` examples in the fast suite."""
    return settings(max_examples=count * (LONG if settings.get_current_profile_name() == "long" else 1))
