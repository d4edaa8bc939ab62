"""Every benchmark that `make bench` calls is there and explains itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_explains_itself(name: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--help"], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert "usage:" in shown.stdout
