"""Every benchmark that `make bench` calls is there and explains itself."""

from __future__ import annotations

import pytest
from commands import run_module

from benchmarks.__main__ import NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_explains_itself(name: str) -> None:
    shown = run_module(f"benchmarks.{name}", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "usage:" in shown.stdout
