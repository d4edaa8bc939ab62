"""`python -m benchmarks.serving` (`make bench-serving`): the server under load, as tables, JSON and a plot.

The network is a stand-in with a GPU's cost (benchmarks/serving/cost.py), the same for every server, so that what is compared is
the serving; overhead, reloads and the flood are measured with the planner `dense` too. The servers and the load share this
machine's cores: read the ratios, not the milliseconds. `pip install litserve` adds LitServe to the comparison.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console

from benchmarks.serving import parts
from benchmarks.serving.cost import ITEM_MS, LAUNCH_MS
from benchmarks.serving.gpu_like import SIZE
from benchmarks.serving.reload import RELOADED, fill, reloads
from benchmarks.serving.report import OURS, draw, show
from benchmarks.serving.servers import ROOT, Server, comparison, graspserver
from benchmarks.serving.watch import Memory
from shared.registry import Registry

Part = Literal["overhead", "closed", "open", "reload", "flood", "fleet"]
SMALL = (120, 160)


class Settings(BaseSettings):
    __doc__ = __doc__

    model_config = SettingsConfigDict(cli_kebab_case=True)
    parts: list[Part] = Field(["overhead", "closed", "open", "reload", "flood", "fleet"], description="what to measure")
    servers: list[str] = Field([OURS, "plain", "litserve"], description="whom to measure (LitServe if it is installed)")
    clients: list[int] = Field([1, 4, 16, 32, 64, 256], description="clients of the closed loop, one run each")
    rates: list[float] = Field([50, 100, 200, 400], description="requests per second of the open loop, one run each")
    seconds: float = Field(4.0, gt=0, description="length of each run")
    reloads: int = Field(50, ge=1, description="reloads under load")
    flood: float = Field(10.0, gt=1, description="load of the flood as a multiple of the measured capacity")
    fleet: int = Field(1000, ge=1, description="simulated clients that ask once per second")
    json_file: Path = Field(Path("runs/serving.json"), description="where the figures go")
    plot: Path = Field(Path("runs/serving.png"), description="where the plot goes")


def main(settings: Settings) -> dict[str, Any]:
    """Run the parts and return the figures."""
    console = Console(width=max(170, Console().width))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    figures: dict[str, Any] = {
        "machine": machine,
        "cost_ms": {"launch": LAUNCH_MS, "item": ITEM_MS},
        "seconds": settings.seconds,
    }
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        registry = fill(Path(folder), ROOT / "models")
        for name, start in _contestants(registry, settings.servers).items():
            with start as server, Memory(server.process.pid) as memory:
                console.print(f"{name} answers; {time.monotonic() - started:.0f} s")
                _compared(server, name, settings, figures, memory)
                if name == OURS:
                    _alone(server, registry, settings, figures, memory)
                    figures["memory"] = {"samples": memory.samples, "parts": memory.parts}
    show(console, figures)
    settings.json_file.parent.mkdir(parents=True, exist_ok=True)
    settings.json_file.write_text(json.dumps(figures, indent=1))
    draw(figures, settings.plot)
    console.print(f"figures in {settings.json_file}, plot in {settings.plot}; {time.monotonic() - started:.0f} s")
    return figures


def _contestants(registry: Registry, wanted: list[str]) -> dict[str, AbstractContextManager[Server]]:
    ours = graspserver(registry.root, queue_size=512, max_batch=32, reload_seconds=0.5)
    found = {OURS: ours, "plain": comparison("plain"), "litserve": comparison("litserve")}
    if not find_spec("litserve"):
        del found["litserve"]
    return {name: found[name] for name in wanted if name in found}


def _compared(server: Server, name: str, settings: Settings, figures: dict[str, Any], memory: Memory) -> None:
    """What is measured of every server."""
    seconds = settings.seconds
    if "overhead" in settings.parts:
        memory.part("overhead")
        for planner in ("gpu_like", "antipodal", "dense") if name == OURS else ("gpu_like",):
            figures.setdefault("overhead", {})[f"{name} {planner}"] = parts.overhead(server, planner, seconds)
    if "closed" in settings.parts:
        memory.part("closed")
        rows = {str(clients): parts.closed(server, clients, seconds) for clients in settings.clients}
        figures.setdefault("closed", {})[name] = rows
    if "open" in settings.parts:
        memory.part("open")
        figures.setdefault("open", {})[name] = {f"{rate:g}": parts.opened(server, rate, seconds) for rate in settings.rates}


def _alone(server: Server, registry: Registry, settings: Settings, figures: dict[str, Any], memory: Memory) -> None:
    """What the others do not offer."""
    seconds = settings.seconds
    if "reload" in settings.parts:
        memory.part("reload")
        figures["reload"] = {planner: reloads(server, registry, planner, settings.reloads, 2 * seconds) for planner in RELOADED}
    if "flood" in settings.parts:
        memory.part("flood")
        figures["flood"] = {planner: parts.flood(server, planner, seconds, settings.flood) for planner in ("dense",)}
    if "fleet" in settings.parts:
        memory.part("fleet")
        figures["fleet"] = {
            f"{size[1]}x{size[0]}": parts.fleet_of(server, size, settings.fleet, 2 * seconds) for size in (SIZE, SMALL)
        }


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers end with it
    main(CliApp.run(Settings))
