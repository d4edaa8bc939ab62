"""`python -m benchmarks.gpu`: what a GPU makes of planning and learning, as a table and as JSON.

Crops per second of GQ-CNN against the batch, as the server runs it; probabilities of the shipped networks beside those of the
CPU in float32; a served plan of `dense` and `tilted`, one client and many; `dense` while its weights change; gradient steps per
second of `dense`. `--device cpu` runs the same without a GPU.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict

from benchmarks.networks import make, seconds
from benchmarks.serving.load import closed_loop, run
from benchmarks.serving.parts import overhead, request
from benchmarks.serving.reload import fill, reloads
from benchmarks.serving.servers import graspserver
from benchmarks.tables import keep, show
from planning.networks.device import Execution, choose_execution, pick_device
from planning.networks.forward import Forward, largest_change
from shared.networks import build_network
from shared.registry import Registry
from trainer_job.data.examples import Examples
from trainer_job.promotion.publish import load_network
from trainer_job.tasks import task_of_model
from trainer_job.training.distributed import DistContext
from trainer_job.training.loop import train
from trainer_job.training.round import WARM

LIMITS = {"float32": 1e-4, "bfloat16": 1e-2}
"""Most that a probability may differ from that of the CPU in float32."""
SHIPPED = Path("models")
COMPARED = ("dense", "suction-dense", "gqcnn-jaw", "gqcnn-suction")
PLANNERS = ("dense", "tilted")


class Settings(BaseSettings):
    __doc__ = __doc__

    model_config = SettingsConfigDict(cli_kebab_case=True)
    device: str = Field("auto", description="auto, cpu or cuda:N")
    seconds: float = Field(5.0, gt=0, description="time spent on each figure")
    batches: list[int] = Field([64, 256, 1024, 4096], description="crops in a batch")
    clients: int = Field(32, ge=1, description="clients that ask at once")
    reloads: int = Field(10, ge=1, description="versions that are loaded under load")
    steps: int = Field(300, ge=1, description="gradient steps")
    planners: list[str] = Field(list(PLANNERS), description="planners that serve")
    out: Path = Field(Path("data/benchmarks/gpu.json"), description="report")


def crops(execution: Execution, batches: list[int], least: float) -> list[dict[str, Any]]:
    """Crops per second of GQ-CNN. Random weights: the numbers do not change the time."""
    network = make("gqcnn", execution.device)
    sizes = tuple(batches) if execution.sizes else ()
    forward = Forward(network, replace(execution, sizes=sizes))
    golden: tuple[torch.Tensor, ...] = network.golden_batch()  # type: ignore[operator]
    forward.prepare(tuple(each.to(execution.device) for each in golden))
    rows = []
    for batch in batches:
        inputs = tuple(each[torch.arange(batch) % len(each)].to(execution.device) for each in golden)
        rate = batch / seconds(lambda x=inputs: forward(*x), execution.device, least)  # type: ignore[misc]
        rows.append({"network": "gqcnn", "precision": str(forward.dtype), "batch": batch, "crops_per_second": rate})
    return rows


def parity(device: torch.device) -> list[dict[str, Any]]:
    """Largest change of a probability of each shipped network's golden batch."""
    rows, registry = [], Registry(SHIPPED)
    for name in COMPARED:
        if (version := registry.champion(name)) is None:
            continue
        network = load_network(registry, name, version)
        golden: tuple[torch.Tensor, ...] = network.golden_batch()  # type: ignore[operator]
        truth = Forward(network, Execution(torch.device("cpu"))).eager(*golden)
        truth = truth if isinstance(truth, tuple) else (truth,)
        network.to(device)
        for precision, limit in LIMITS.items():
            half = Forward(network, Execution(device, getattr(torch, precision)))
            there = half.eager(*(each.to(device) for each in golden))
            there = tuple(each.cpu() for each in (there if isinstance(there, tuple) else (there,)))
            change = largest_change(there, truth)
            rows.append({"network": name, "precision": precision, "change": change, "limit": limit, "holds": change <= limit})
    return rows


def serving(settings: Settings, folder: Path, device: torch.device) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Plans of each planner with one client and with many, ms; and what reloads cost those who ask meanwhile."""
    registry, rows = fill(folder / "models", SHIPPED), []
    with graspserver(folder / "models", device=str(device)) as server:
        for planner in settings.planners:
            alone = overhead(server, planner, settings.seconds)
            many = run(closed_loop(server.port, request(planner), settings.clients, settings.seconds)).everything()
            rows.append(
                {
                    "planner": planner, "n": alone["n"], "p50_ms": alone["reply_p50"], "plan_ms": alone["stages"]["plan"],
                    "clients": settings.clients, "per_second": many["per_second"], "p95_ms": many.get("p95"),
                }
            )  # fmt: skip
        changed = reloads(server, registry, "dense", settings.reloads, settings.seconds)
    kept = {name: changed[name].get("p95") for name in ("calm", "busy")}
    return rows, {"reloads": settings.reloads, "p95_ms": kept, "statuses": changed["busy"]["statuses"]}


def training(device: torch.device, steps: int) -> dict[str, Any]:
    """Gradient steps per second of a round of `dense` that begins from trained weights; what is learned means nothing."""
    task, rng = task_of_model("dense"), np.random.default_rng(0)
    count = WARM.batch * 8
    features = rng.normal(0, 0.01, (count, *task.spec.shape)).astype(np.float16)
    data = Examples(features, rng.integers(0, 2, count).astype(np.float32), np.zeros((count, task.spec.aux), np.float32))
    network, ranks = build_network("dense", {}), DistContext(device=device)
    train(network, task, task.from_records(data), replace(WARM, epochs=1, min_steps=2), 0, ranks)  # warms up
    began = time.perf_counter()
    history = train(network, task, task.from_records(data), replace(WARM, epochs=1, min_steps=steps), 0, ranks)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    took = history.steps[-1] / (time.perf_counter() - began)
    return {"network": "dense", "batch": WARM.batch, "steps": history.steps[-1], "steps_per_second": took}


def main(settings: Settings) -> int:
    began, device = time.perf_counter(), pick_device(settings.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    with torch.inference_mode():
        rates = [
            row
            for precision in ("float32", "bfloat16")
            for row in crops(choose_execution(str(device), precision), settings.batches, settings.seconds / 5)
        ]
        same = parity(device)
    with tempfile.TemporaryDirectory() as folder:
        plans, changed = serving(settings, Path(folder), device)
    learned = training(device, settings.steps)
    show(f"Crops per second ({where})", rates)
    show("Probabilities beside those of the CPU", same)
    show("Plans over HTTP", plans)
    show("dense while its weights change", [{name: str(value) for name, value in changed.items()}])
    show("Training", [learned])
    report = {"where": where, "crops": rates, "parity": same, "plans": plans, "reloads": changed, "training": learned}
    keep(settings.out, {**report, "seconds": time.perf_counter() - began})
    return int(not all(row["holds"] for row in same))


if __name__ == "__main__":
    sys.exit(main(CliApp.run(Settings)))
