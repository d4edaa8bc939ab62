"""`python -m benchmarks.serving`: throughput and latency under load, as a table, JSON and a plot.

The network is a stand-in with a GPU's cost (benchmarks/serving/cost.py), the same for every server, so that what is compared is
the serving. The servers and the load share this machine's cores: read the ratios, not the milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console
from rich.table import Table
from safetensors.torch import save

from benchmarks.serving.cost import ITEM_MS, LAUNCH_MS
from benchmarks.serving.gpu_like import RAW
from benchmarks.serving.load import closed_loop, open_loop, post
from benchmarks.serving.servers import Server, comparison, graspserver
from shared.networks import build_network
from shared.registry import ModelCard, Registry


class Settings(BaseSettings):
    """Serving benchmark."""

    model_config = SettingsConfigDict(cli_kebab_case=True)
    clients: list[int] = Field([1, 4, 16, 32, 64, 256], description="clients of the closed loop, one run each")
    seconds: float = Field(5.0, description="length of each run")
    flood: float = Field(10.0, description="load of the flood as a multiple of the measured capacity")
    json_file: Path = Field(Path("runs/serving.json"), description="where the figures go")
    plot: Path = Field(Path("runs/serving.png"), description="where the plot goes")


def main(settings: Settings) -> dict:
    """Run everything and return the figures."""
    console = Console()
    request = post("/predict_grasp", _depth(), RAW | {"X-Request": json.dumps({"planner": "gpu_like"})})
    figures: dict = {"cost_ms": {"launch": LAUNCH_MS, "item": ITEM_MS}, "closed_loop": {}}
    with tempfile.TemporaryDirectory() as folder:
        models = _registry(Path(folder))
        for name, start in _contestants(models).items():
            with start as server:
                console.print(f"{name}: closed loop with {', '.join(map(str, settings.clients))} clients")
                figures["closed_loop"][name] = _closed(server, request, settings)
                if name == "grasploop":
                    figures["flood"] = _flood(server, request, settings)
    _print(console, figures)
    settings.json_file.parent.mkdir(parents=True, exist_ok=True)
    settings.json_file.write_text(json.dumps(figures, indent=1))
    _draw(figures, settings.plot)
    console.print(f"figures in {settings.json_file}, plot in {settings.plot}")
    return figures


def _contestants(models: Path) -> dict[str, AbstractContextManager[Server]]:
    found: dict[str, AbstractContextManager[Server]] = {
        "grasploop": graspserver(models, queue_size=512, max_batch=32),
        "plain": comparison("plain"),
    }
    if find_spec("litserve"):
        found["litserve"] = comparison("litserve")
    return found


def _closed(server: Server, request: bytes, settings: Settings) -> dict[str, dict]:
    asyncio.run(closed_loop(server.port, [request], 2, 1.0))
    rows = {}
    for clients in settings.clients:
        load = asyncio.run(closed_loop(server.port, [request], clients, settings.seconds))
        rows[str(clients)] = load.summary() | {"statuses": dict(load.statuses), "broken": load.broken}
    return rows


def _flood(server: Server, request: bytes, settings: Settings) -> dict:
    """Far more requests than can be answered: what is accepted, what is refused, and how it is afterwards."""
    before = asyncio.run(closed_loop(server.port, [request], 4, settings.seconds))
    capacity = 1e3 / (LAUNCH_MS / 32 + ITEM_MS)
    rate = min(settings.flood * capacity, 3000.0)
    flood = asyncio.run(open_loop(server.port, [request], rate, settings.seconds))
    after = asyncio.run(closed_loop(server.port, [request], 4, settings.seconds))
    rows = {"rate": rate, "accepted": flood.summary(200), "refused": flood.summary(429), "broken": flood.broken}
    return rows | {"statuses": dict(flood.statuses), "before": before.summary(), "after": after.summary()}


def _registry(folder: Path) -> Path:
    """A registry in which the stand-in's model has a champion (its network is not used)."""
    registry = Registry(folder)
    module = build_network("dense", {})
    card = ModelCard(name="gpu-like", architecture="dense", note="benchmark")
    registry.promote("gpu-like", registry.publish("gpu-like", save(module.state_dict()), card))
    return folder


def _depth() -> bytes:
    rng = np.random.default_rng(0)
    return (700 + rng.normal(0, 2, (480, 640))).astype("<u2").tobytes()


def _print(console: Console, figures: dict) -> None:
    table = Table("server", "clients", "requests/s", "p50 ms", "p95 ms", "p99 ms", "n", "not 200", "x plain")
    plain = figures["closed_loop"].get("plain", {})
    for name, rows in figures["closed_loop"].items():
        for clients, row in rows.items():
            if not row["n"]:
                table.add_row(name, clients, "0", "", "", "", "0", str(row["statuses"]), "")
                continue
            ratio = row["per_second"] / plain[clients]["per_second"] if plain.get(clients, {}).get("n") else float("nan")
            other = sum(count for status, count in row["statuses"].items() if status != 200) + row["broken"]
            cells = [f"{row[key]:.1f}" for key in ("per_second", "p50", "p95", "p99")]
            table.add_row(name, clients, *cells, str(row["n"]), str(other), f"{ratio:.2f}")
    console.print(table)
    flood = figures["flood"]
    console.print(
        f"flood at {flood['rate']:.0f}/s: {flood['statuses']}; accepted {flood['accepted']}; refused {flood['refused']}"
    )
    console.print(f"four clients before: {flood['before']}; after: {flood['after']}")


def _draw(figures: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, rows in figures["closed_loop"].items():
        clients = [int(count) for count, row in rows.items() if row["n"]]
        axes[0].plot(clients, [rows[str(count)]["per_second"] for count in clients], marker="o", label=name)
        axes[1].plot(clients, [rows[str(count)]["p99"] for count in clients], marker="o", label=name)
    for axis, title in zip(axes, ("requests per second", "p99 latency, ms"), strict=True):
        axis.set(xscale="log", xlabel="clients", title=title)
        axis.grid(alpha=0.3)
    axes[1].set(yscale="log")
    axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main(CliApp.run(Settings))
