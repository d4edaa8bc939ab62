"""Source trees to compare: this one as it lies here, or a commit's in a folder of its own, and how Python runs from either."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
HERE = "here"
"""Name of the tree that this module lies in, with what is not committed."""


@dataclass(frozen=True)
class Tree:
    """A tree of the project. path: what PYTHONPATH must begin with, so that its code and its entry points are found."""

    name: str
    root: Path
    path: tuple[Path, ...]

    @property
    def python_path(self) -> str:
        return os.pathsep.join(map(str, self.path))


@contextmanager
def tree_of(commit: str) -> Iterator[Tree]:
    """The tree of a commit (anything that git resolves), or of `HERE`; what was made for it goes at the end.

    Raises ValueError for what git does not know.
    """
    with tempfile.TemporaryDirectory(prefix="grasploop-tree-") as name:
        folder = Path(name)
        root = ROOT if commit == HERE else _unpacked(commit, folder / "tree")
        metadata = folder / "metadata"
        metadata.mkdir()
        for project in sorted(root.glob("pyproject.toml")) + sorted(root.glob("*/pyproject.toml")):
            describe(project, metadata)
        yield Tree(commit, root, (metadata, root))


def describe(project: Path, folder: Path) -> None:
    """Write into `folder` the metadata that installing a pyproject.toml would leave: name, version and entry points.

    The environment holds the metadata of the tree that was installed into it. importlib.metadata takes the first of a name on
    the path, so these must come before the environment's own.
    """
    about: dict[str, Any] = tomllib.loads(project.read_text())["project"]
    name, version = about["name"], about.get("version", "0")
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = {**about.get("entry-points", {}), "console_scripts": about.get("scripts", {})}
    lines = [line for group, entries in groups.items() for line in (f"[{group}]", *map(" = ".join, entries.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def revision(commit: str) -> str:
    """The full hash of a commit; of `HERE` that of HEAD, with `+` where files differ from it. Raises ValueError."""
    if commit != HERE:
        return _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").decode().strip()
    return revision("HEAD") + ("+" if _git("status", "--porcelain").strip() else "")


def _unpacked(commit: str, folder: Path) -> Path:
    """An archive rather than a worktree: git keeps no record of it, so a run that is killed leaves the repository as it was."""
    archive = _git("archive", "--format=tar", revision(commit))
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True)
    if done.returncode:
        raise ValueError(f"git {' '.join(arguments)}: {done.stderr.decode().strip() or 'unknown commit'}")
    return done.stdout
