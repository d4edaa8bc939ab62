"""The loop of the demo: started, watched until a version is promoted and served, and stopped."""

from __future__ import annotations

import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.learning.running import STOP_SECONDS, Loop, attempts, start
from benchmarks.learning.tools import LONG, write
from services.status import StatusReader
from services.view import StatusDisplay, choose_display
from shared.registry import Registry

LOOK_SECONDS = 1.0
MODEL = "dense"
VARIABLES = {
    "PROFILE": "hard", "VARY": "nothing", "SCENE_KIND": "single", "PLANNER": MODEL, "MODEL": MODEL, "OBJECT_SET": "folder",
    "REPLAY_RATIO": "0", "EXPLORATION": "0.5", "SHARD_OUTCOMES": "32", "SHARD_SECONDS": "2", "WORKERS": "1", "WORLDS": "2",
    "TORCH_THREADS": "1", "RELOAD_SECONDS": "1",
}  # fmt: skip


@dataclass(frozen=True)
class Learned:
    """What was promoted: versions, how long it took, and why."""

    before: int
    after: int
    seconds: float
    attempts: int
    reason: str


def learn(out: Path, seed: int, outcomes: int, models: Path, minutes: float) -> Learned | None:
    """Runs the loop on hammers until the server answers with a new version; None when the time is up. Raises LoopFailed when
    the launcher ends by itself."""
    hammers = write(out / "hammers", 12, seed, LONG)
    variables = {
        **VARIABLES,
        "OUTCOMES_PER_ROUND": str(outcomes),
        "OBJECTS_DIR": str(hammers.resolve()),
        "SEED": str(seed),
        "SHIPPED_MODELS_DIR": str(models.resolve()),
    }
    begun, loop = time.monotonic(), start(out, variables)
    try:
        return _watch(loop, out, begun, begun + 60 * minutes)
    finally:
        if loop.process.poll() is None:
            loop.process.send_signal(signal.SIGINT)
            loop.process.wait(timeout=STOP_SECONDS)


def _watch(loop: Loop, out: Path, begun: float, until: float) -> Learned | None:
    registry, display, reader, first = Registry(out / "models"), None, None, None
    try:
        while time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
            loop.poll()
            first = first or registry.champion(MODEL)
            if "ready: POST" not in loop.said.read_text():
                continue
            if reader is None or display is None:
                display, reader = choose_display(loop.url), StatusReader(_queue(loop), out / "models", out / "shards")
            display.show([], reader.read())
            champion = registry.champion(MODEL)
            if first is not None and champion not in (None, first) and _served(loop.url) == champion:
                assert champion is not None
                reason = str(registry.card(MODEL, champion).decisions[-1].get("reason"))
                return Learned(first, champion, time.monotonic() - begun, attempts(out), reason)
        return None
    finally:
        _close(display)


def _close(display: StatusDisplay | None) -> None:
    if display is not None:
        display.close()


def _queue(loop: Loop) -> str:
    """Where the launcher says that its queue is."""
    [url] = re.findall(r"queue at (\S+),", loop.said.read_text())
    return str(url)


def _served(url: str) -> int | None:
    """The version that the server answers with; None while it does not say."""
    try:
        version = httpx.get(f"{url}/ready", timeout=5).json()["models"].get(MODEL)
    except (httpx.HTTPError, ValueError):
        return None
    return int(version) if version else None
