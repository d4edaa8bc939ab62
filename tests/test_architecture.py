"""The structure that the folders promise: imports run one way and in no circle, no folder is crowded."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from places import ROOT

FLOORS = {
    "grasp_client": 0,
    "shared": 1,
    "planning": 2,
    "inference_server": 3,
    "sim_worker": 3,
    "trainer_job": 3,
    "services": 4,
}
"""A package imports itself and lower floors only: two services meet in the queue, the registry or over HTTP."""
FOREIGN = {
    "grasp_client": {"torch", "redis", "pybullet", "fastapi", "scipy", "cv2"},
    "shared": {"pybullet", "fastapi", "httpx"},
    "planning": {"fastapi", "starlette", "uvicorn", "httpx", "redis", "pybullet"},
    "inference_server": {"pybullet"},
    "sim_worker": {"torch", "fastapi", "planning"},
    "trainer_job": {"pybullet", "fastapi", "httpx", "planning"},
}
"""What must not be needed to run a package. Imports inside functions count: they need the package as well."""
CLIENT_TAKES_IF_THERE = {"yaml", "mcp"}
"""Imported where it is used, with a message that says how to install it."""
CLIENT_NEEDS = {"numpy", "httpx", "pydantic", "pydantic_core", "PIL", "typing_extensions"}
"""typing_extensions: for type checkers alone, which bring it."""
MOST_FILES = 15


def modules(package: str) -> list[Path]:
    return [path for path in sorted((ROOT / package).rglob("*.py")) if "build" not in path.parts]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports(path: Path) -> list[str]:
    """Full names of what a module imports, of a `from` import with the imported name appended."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute here"
            found += (f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("package", FLOORS)
def test_imports_run_one_way(package: str) -> None:
    upward, foreign = [], []
    for path in modules(package):
        for imported in imports(path):
            first = imported.split(".")[0]
            if first in FLOORS and first != package and FLOORS[first] >= FLOORS[package]:
                upward.append(f"{path.relative_to(ROOT)} imports {imported}")
            if first in FOREIGN.get(package, ()):
                foreign.append(f"{path.relative_to(ROOT)} imports {imported}")
    assert modules(package)
    assert not upward
    assert not foreign


def test_the_client_needs_four_packages_only() -> None:
    needed = {imported.split(".")[0] for path in modules("grasp_client") for imported in imports(path)}
    assert needed - set(sys.stdlib_module_names) - {"grasp_client"} - CLIENT_TAKES_IF_THERE <= CLIENT_NEEDS


def test_no_imports_run_in_a_circle() -> None:
    paths = {name_of(path): path for package in FLOORS for path in modules(package)}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        # `from package import module` leads to the module, `from module import thing` to the module that holds it.
        found = {each if each in paths else each.rpartition(".")[0] for each in imports(path)}
        graph[name] = {each for each in found if each in paths and each != name}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"imports run in a circle: {' -> '.join(error.args[1])}")
    assert len(order) == len(paths)


def test_no_folder_is_crowded() -> None:
    counts = Counter(
        path.parent.relative_to(ROOT).as_posix()
        for package in (*FLOORS, "benchmarks")
        for path in modules(package)
        if path.name != "__init__.py"
    )
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}
