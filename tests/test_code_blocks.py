"""The code of tutorials and how-to guides runs: Python and requests against a real server, commands as far as a test may.

What trains or simulates for minutes is held to the options that its command knows, a verb of make to its dry run. What needs a
machine that is not here is named in ELSEWHERE, with the reason.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from places import ROOT
from serving import Running, serving_shipped

from grasp_client import GraspClient
from shared.networks import build_network
from shared.registry import Registry
from shared.settings import LocalSettings, ServerSettings, TrainerSettings, WorkerSettings

pytestmark = pytest.mark.documents

DOCS = ROOT / "docs"
FOLDERS = ("docs/tutorials", "docs/how_to", "examples")
BIN = Path(sys.executable).parent
URL, KEY = "http://127.0.0.1:8000", 'api_key="6f0c…"'
PAGES = sorted(
    [
        ROOT / "README.md",
        *(ROOT / "examples").rglob("*.md"),
        *(DOCS / "tutorials").glob("*.md"),
        *(DOCS / "how_to").glob("*.md"),
    ]
)
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
ELSEWHERE = {
    "docker": "needs an engine: tests/test_compose.py",
    "kustomize": "tests/services/check_manifests.sh renders the manifests",
    "kubectl": "needs a cluster",
    "colcon": "needs a ROS workspace: tests/ros builds the packages",
    "ros2": "needs ROS: tests/ros asks the bridge",
    "source": "of a ROS workspace",
    "ln": "of a ROS workspace",
    "cd": "of a clone",
    "pip": "installs",
    "redis-cli": "another program's",
    "tensorboard": "another program's",
    "torchrun": "one process for each GPU",
}
SETTINGS = {
    name.upper() for each in (LocalSettings, ServerSettings, TrainerSettings, WorkerSettings) for name in each.model_fields
} | {"BIND"}
RUN = ("make", "curl", "grasploop", "python")
WRITES_A_PLANNER = "# my_planners/centroid.py"
"""tests/planning/test_outside_planner.py plans with it."""
BLOCKS = [(page, number, *found) for page in PAGES for number, found in enumerate(BLOCK.findall(page.read_text()))]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, module_redis_url: str) -> Iterator[Running]:
    with serving_shipped(tmp_path_factory.mktemp("registry"), redis_url=module_redis_url) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Running) -> Path:
    """Where a reader stands: the example images, and files by the names that pages use."""
    shutil.copytree(DOCS / "example", tmp_path / "docs" / "example")
    depth = np.asarray(Image.open(DOCS / "example" / "depth.png"))
    np.save(tmp_path / "depth.npy", (depth / 1000).astype(np.float32))
    for name in ("depth.png", "camera.json", "camera_pose.json", "color.png"):
        shutil.copy(DOCS / "example" / name, tmp_path / name)
    Image.fromarray(_mask(depth.shape)).save(tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERVER_URL", server.url)
    return tmp_path


def _mask(shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[250:380, 320:460] = 255
    return mask


def known_here(server: Running) -> dict[str, Any]:
    """What pages take for granted: images of a reader, a robot."""
    depth = np.asarray(Image.open("docs/example/depth.png")).astype(np.float32) / 1000
    registry = Registry(server.service.registry.root)
    policy = registry.card("closed-loop-depth", registry.champion("closed-loop-depth") or 1).model_extra or {}
    return {
        "depth": depth,
        "rgb": np.asarray(Image.open("docs/example/color.png").convert("RGB")),
        "mask": (mask := _mask(depth.shape)),
        "client": GraspClient(server.url),
        "look": lambda: (depth, mask),
        "grasp": lambda grasp: True,
        "push": lambda start, end: None,
        "camera": json.loads(Path("camera.json").read_text()),
        "camera_pose": (pose := json.loads(Path("docs/example/camera_pose.json").read_text())),
        "pose": pose,
        "camera_in_hand": policy["policy"]["mount"],
        "execute": lambda grasp: True,
        "module": build_network("dense", {}),
        "wrist_camera": type("Camera", (), {"depth": staticmethod(lambda: np.full((480, 640), 0.2, np.float32))}),
        "robot": type("Robot", (), {"step": staticmethod(lambda action: None)}),
    }


@pytest.mark.parametrize(("page", "number", "language", "code"), BLOCKS, ids=lambda each: getattr(each, "stem", None) or "")
def test_code_of_a_page(page: Path, number: int, language: str, code: str, folder: Path, server: Running) -> None:
    if language == "python":
        if not code.startswith(WRITES_A_PLANNER):
            run_python(code, server)
    elif language == "bash" or (not language and Path(code.split(maxsplit=1)[0]).name in RUN):
        for command in commands(code):
            run_command(command, server)
    elif language == "ini":
        names = {line.partition("=")[0] for line in code.splitlines() if line}
        assert names <= SETTINGS
    elif language == "yaml":
        assert yaml.safe_load(code)
    elif language == "toml":
        assert pytest.importorskip("tomllib").loads(code)
    else:
        assert language in ("text", "json") or page.name == "README.md", f"{page} block {number}: which language?"


def run_python(code: str, server: Running) -> None:
    text = code.replace(URL, server.url).replace("http://server:8000", server.url).replace(KEY, "api_key=None")
    exec(compile(text, "page", "exec"), known_here(server))


def commands(code: str) -> Iterator[list[str]]:
    """Commands of a block, as words: continued lines together, without comments."""
    for line in code.replace("\\\n", " ").splitlines():
        words = list(shlex.shlex(line, posix=True, punctuation_chars="&|"))
        lexed = shlex.split(line, comments=True) if words else []
        for part in _split(lexed):
            if part:
                yield part


def _split(words: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if word in ("&&", "|"):
            yield part
            part = []
        else:
            part.append(word)
    yield part


def run_command(words: list[str], server: Running) -> None:
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # variables before a command
        assert words[0].partition("=")[0] in SETTINGS | {"GRIPPER", "OUT", "SEED", "OBJECTS_DIR"}
        words = words[1:]
    name = Path(words[0]).name
    if name == "export":
        assert {word.partition("=")[0] for word in words[1:]} <= SETTINGS
    elif name in ELSEWHERE or words[0].startswith("services/"):
        assert not words[0].startswith("services/") or (ROOT / words[0]).exists()
    elif name == "make":
        done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif name == "curl":
        curl(words, server)
    elif name == "grasploop" and words[1] == "predict":
        done = subprocess.run([BIN / "grasploop", *words[1:]], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    elif name == "python" and words[1].startswith("examples/"):
        assert (ROOT / words[1]).exists()  # tests/test_examples.py runs it
        knows_options(words)
    elif name in ("grasploop", "python"):
        knows_options(words)
    else:
        pytest.fail(f"{shlex.join(words)}: nothing here runs {name}")


def curl(words: list[str], server: Running) -> None:
    """Sends it for real. what the reader's data decide may be refused, never the address or its form."""
    given = [word.replace(URL, server.url).replace("$ADMIN_KEY", "") for word in words[1:]]
    done = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    assert status == "200" or json.loads(body)["error"]["code"] in ("unknown_version", "unknown_model"), done.stdout


def knows_options(words: list[str]) -> None:
    """The command has each option that the page gives it."""
    start = 3 if words[1] == "-m" else 2
    sub = words[start : start + 1] if start < len(words) and re.fullmatch(r"[a-z][a-z-]*", words[start]) else []
    options = {word.partition("=")[0] for word in words[start:] if word.startswith("--")}
    help_text = help_of(tuple(words[:start]), tuple(sub))
    missing = {option for option in options if not re.search(rf"{re.escape(option)}\b", help_text)}
    assert not missing, f"{shlex.join(words)}: no {', '.join(sorted(missing))} in its --help"


@cache
def help_of(command: tuple[str, ...], sub: tuple[str, ...]) -> str:
    program = [str(BIN / "grasploop") if Path(command[0]).name == "grasploop" else sys.executable, *command[1:]]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([*program, *sub, "--help"], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_unknown_option_of_a_page_is_found() -> None:
    [words] = commands("python -m sim_worker.collect \\\n  --atempts 3 --out x  # a comment")
    assert words == ["python", "-m", "sim_worker.collect", "--atempts", "3", "--out", "x"]
    with pytest.raises(AssertionError, match="--atempts"):
        knows_options(words)
