"""Tests of properties try the same examples whatever else is loaded, and whatever stands elsewhere in the project."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import examples


def drawn() -> list[int]:
    seen: list[int] = []

    @examples(100)
    @given(number=st.integers())
    def look(number: int) -> None:
        seen.append(number)

    look()
    return seen


def test_examples_do_not_depend_on_which_modules_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = drawn()
    (tmp_path / "just_loaded.py").write_text(f"NUMBERS = {[7_000_001 + 37 * k for k in range(400)]}\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_module("just_loaded")
    assert drawn() == before
