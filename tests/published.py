"""Where tests find public data of other projects; never part of this one. They are skipped where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def published(path: str) -> Path:
    """A file or folder under GRASP_TEST_DATA, or under shared/data beside the project."""
    root = os.environ.get("GRASP_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    found = Path(root) / path
    if not found.exists():
        pytest.skip(f"no published data at {found}; GRASP_TEST_DATA names the folder that has it")
    return found
