"""Pictures for simulated tables come out of published wheels, with their licences."""

from __future__ import annotations

import subprocess
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from services.textures import CONSTRAINTS, PACKAGES, fetch, licence_of, take_pictures

PICTURES = ("robosuite/models/assets/textures/wood.png", "robosuite/models/assets/textures/deep/wood.JPG")


def wheel(path: Path, names: tuple[str, ...] = PICTURES, metadata: str = "Name: robosuite\nVersion: 1\n") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*names, "robosuite/models/assets/textures/readme.md", "robosuite/icon.png"):
            archive.writestr(name, name)
        archive.writestr("robosuite-1.dist-info/METADATA", metadata)
        archive.writestr("robosuite-1.dist-info/licenses/LICENSE", "\nMIT License\n\nmore")
    return path


def test_pictures_and_licences_are_taken(tmp_path: Path) -> None:
    count, licence = take_pictures(wheel(tmp_path / "a.whl"), PACKAGES["robosuite"], tmp_path / "out")
    assert (count, licence) == (2, "MIT License")
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {"wood.png", "deep/wood.JPG", "LICENSE", "PACKAGE.txt"}
    assert "MIT License" in (tmp_path / "out" / "PACKAGE.txt").read_text()


def test_a_wheel_without_pictures_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no picture under robosuite/models"):
        take_pictures(wheel(tmp_path / "a.whl", ()), PACKAGES["robosuite"], tmp_path / "out")


@pytest.mark.parametrize(
    ("fields", "texts", "named"),
    [
        ({"License-Expression": "BSD-3-Clause", "License": "Files: *"}, ["MIT License"], "BSD-3-Clause"),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, [], "MIT License"),
        ({"License": "MIT\nmore"}, [" \n"], "MIT"),
        ({}, [], "not told: see its home page"),
    ],
)
def test_the_licence_is_what_the_package_says(fields: dict[str, str], texts: list[str], named: str) -> None:
    metadata = Message()
    for name, value in fields.items():
        metadata[name] = value
    assert licence_of(metadata, texts) == named


def test_what_is_there_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def pip(command: list[str], check: bool) -> None:
        asked.append(command)
        wheel(Path(command[command.index("--dest") + 1]) / "robosuite.whl")

    monkeypatch.setattr(subprocess, "run", pip)
    fetch("robosuite", tmp_path)
    fetch("robosuite", tmp_path)
    assert len(asked) == 1
    assert "--no-deps" in asked[0]
    assert {path.name for path in tmp_path.iterdir()} == {"robosuite"}


def test_every_package_is_pinned() -> None:
    pinned = {line.partition("==")[0] for line in CONSTRAINTS.read_text().splitlines()}
    assert set(PACKAGES) <= pinned
