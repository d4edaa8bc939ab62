"""Start the servers that are compared, each as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.serving.watch import family

ROOT = Path(__file__).parents[2]
START_SECONDS = 120


@dataclass
class Server:
    name: str
    port: int
    process: subprocess.Popen[Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def graspserver(models: Path, path: Sequence[Path] = (ROOT,), **settings: object) -> Iterator[Server]:
    """The inference server with the benchmark's planner installed beside its own. path: where its code is found first."""
    with tempfile.TemporaryDirectory() as folder, _plugin(Path(folder)) as site:
        environment = {name.upper(): str(value) for name, value in settings.items()}
        python_path = os.pathsep.join(map(str, (*path, site)))
        environment |= {"MODELS_DIR": str(models.resolve()), "PYTHONPATH": python_path, "LOG_LEVEL": "error"}
        with _started("grasploop", ["-m", "inference_server"], environment, "/ready", folder=Path(folder)) as server:
            yield server


@contextmanager
def comparison(kind: str) -> Iterator[Server]:
    """`plain` (a FastAPI handler), `litserve`, or `acting` (a plain handler that acts)."""
    port = free_port()
    module = {"plain": "gpu_like", "litserve": "with_litserve", "acting": "acting"}[kind]
    command = ["-m", f"benchmarks.serving.{module}", str(port)]
    with _started(kind, command, {"PYTHONPATH": str(ROOT)}, "/docs", port) as server:
        yield server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        result: int = probe.getsockname()[1]
        return result


@contextmanager
def _plugin(site: Path) -> Iterator[Path]:
    """An installed distribution, as far as entry points go: the way in which any package adds a planner."""
    info = site / "grasploop_benchmark-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: grasploop-benchmark\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[grasploop.planners]\ngpu_like = benchmarks.serving.gpu_like:GpuLikePlanner\n")
    yield site


@contextmanager
def _started(
    name: str, command: list[str], environment: dict[str, str], path: str, port: int = 0, folder: Path = ROOT
) -> Iterator[Server]:
    """folder: where the process runs; `-m` looks there first."""
    port = port or free_port()
    full = {**os.environ, **environment, "PORT": str(port), "HOST": "127.0.0.1"}
    process = subprocess.Popen([sys.executable, *command], env=full, cwd=folder)
    try:
        _wait(f"http://127.0.0.1:{port}{path}", process, name)
        yield Server(name, port, process)
    finally:
        members = family(process.pid)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        for member in members:  # LitServe leaves processes behind
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)


def _wait(url: str, process: subprocess.Popen[Any], name: str) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode} before it was ready")
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"{name} was not ready within {START_SECONDS} s at {url}")
