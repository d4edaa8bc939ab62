"""Repeated runs of the tests: told one by one, and gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import repeat
from tests.repeat import Run


def test_it_tells_which_tests_failed_and_keeps_what_they_said(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text("def test_good():\n    pass\ndef test_bad():\n    print('odd')\n    assert 0\n")
    made = repeat.run([str(tmp_path), "-q", "-c", "/dev/null", "-p", "no:cacheprovider"], tmp_path / "output.txt")
    assert not made.passed
    assert made.said.splitlines()[0].startswith("status 1: 1 failed, 1 passed")
    assert "test_two.py::test_bad" in made.said.splitlines()[1]
    assert "odd" in (tmp_path / "output.txt").read_text()


def test_it_goes_on_with_the_runs_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[Path] = []

    def run(arguments: Sequence[str], output: Path) -> Run:
        made.append(output)
        if len(made) == 3:
            raise KeyboardInterrupt
        return Run(len(made) != 2, 1.0, f"run {len(made)}")

    for name, value in {"FOLDER": tmp_path, "CORES": 0, "run": run, "name_of": lambda arguments: "commit"}.items():
        monkeypatch.setattr(repeat, name, value)
    with pytest.raises(KeyboardInterrupt):
        repeat.main(4, [])
    assert repeat.main(4, []) == 1
    assert [path.name for path in made] == [f"commit-{number}.txt" for number in (1, 2, 3, 3, 4)]
    *_, first, second, third, fourth, all_of_them = capsys.readouterr().out.splitlines()
    assert first == "run 1 of 4, before: passed in 1 s: run 1"
    assert second == "run 2 of 4, before: FAILED in 1 s: run 2"
    assert third == "run 3 of 4: passed in 1 s: run 4"
    assert fourth == "run 4 of 4: passed in 1 s: run 5"
    assert all_of_them.startswith("3 of 4 passed beside 0 busy loops")
    assert repeat.main(1, []) == 0, "fewer are asked for now"
