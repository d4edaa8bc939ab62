"""`python -m benchmarks.serving.cpu`: what makes networks faster on a CPU, and what does not.

Milliseconds of one forward of a batch: as torch builds the network; as the server runs it, with the channels of a pixel side by
side; then with another number of threads, padded to the next power of two, and in bfloat16. And of whole plans with one thread
and with all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.serving.parts import CAMERA, scene
from grasp_client.contract import CameraIntrinsics, PlanRequest
from grasp_client.observation import Observation
from planning.local import local_planner
from planning.networks.device import SIZES, Execution
from planning.networks.forward import Forward
from shared.networks import architectures, build_network

ROWS = {"dense": 100, "suction-dense": 100, "gqcnn": 100, "gqcnn4": 100, "mobileunet": 1, "fc-gqcnn": 1, "efficientnet": 1}
"""Batches as the planners make them; 100 is not a power of two."""


class Settings(BaseSettings):
    __doc__ = __doc__

    model_config = SettingsConfigDict(cli_kebab_case=True)
    seconds: float = Field(0.5, gt=0, description="time spent on each figure")
    models_dir: Path = Field(Path("models"), description="registry of the planners' models")


def main(settings: Settings) -> None:
    console, all_threads = Console(), os.cpu_count() or 1

    def timed(run: Callable[[], object]) -> str:
        return f"{milliseconds(run, settings.seconds):.1f}"

    table = Table(
        "network", "batch", "as built", "served", f"{all_threads} threads", "padded", "bfloat16", title="ms, 1 thread"
    )
    torch.set_num_threads(1)
    with torch.inference_mode():
        for name in sorted(set(architectures()) & set(ROWS)):
            module = build_network(name, {}).eval()
            inputs = batch(module, ROWS[name])
            size = next(each for each in SIZES if each >= ROWS[name])
            cells = [timed(lambda: module(*inputs))]  # noqa: B023
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            cells.append(timed(lambda: module(*inputs)))  # noqa: B023
            torch.set_num_threads(all_threads)
            cells.append(timed(lambda: module(*inputs)))  # noqa: B023
            torch.set_num_threads(1)
            for execution in (Execution(torch.device("cpu"), sizes=(size,)), Execution(torch.device("cpu"), torch.bfloat16)):
                forward = Forward(module, execution)
                forward.prepare(inputs)
                cells.append(timed(lambda: forward(*inputs)))  # noqa: B023
            table.add_row(name, str(ROWS[name]), *cells)
    console.print(table)
    console.print(plans(settings, all_threads))


def batch(module: nn.Module, rows: int) -> tuple[torch.Tensor, ...]:
    """The golden batch, repeated to that many rows."""
    golden: tuple[torch.Tensor, ...] = module.golden_batch()  # type: ignore[operator]
    return tuple(each[torch.arange(rows) % len(each)] for each in golden)


def milliseconds(run: Callable[[], object], seconds: float) -> float:
    """Median of as many runs as fit into `seconds`, at least one after the first, which does not count."""
    run()
    took: list[float] = []
    until = time.perf_counter() + seconds
    while not took or time.perf_counter() < until:
        started = time.perf_counter()
        run()
        took.append(time.perf_counter() - started)
    return 1e3 * float(np.median(took))


def plans(settings: Settings, all_threads: int) -> Table:
    table = Table("planner", "1 thread", f"{all_threads} threads", title="ms, whole plan of 640 x 480")
    observation = Observation(depth=scene().astype(np.float32) / 1000)
    request = PlanRequest(camera=CameraIntrinsics(**CAMERA), table_depth=0.7)
    for name in ("antipodal", "dense"):
        planner, cells = local_planner(name, settings.models_dir), []
        for threads in (1, all_threads):
            torch.set_num_threads(threads)
            cells.append(f"{milliseconds(lambda: planner.plan(observation, request), 4 * settings.seconds):.1f}")  # noqa: B023
        table.add_row(name, *cells)
    return table


if __name__ == "__main__":
    main(CliApp.run(Settings))
