"""`python -m benchmarks.networks`: what the GQ-CNN family costs. Random weights: the numbers do not change the time.

Crops per second against the batch, the fully convolutional form against crop by crop, and the crops of one plan scored in
batches against one forward pass per grasp. On a GPU all times are taken after a synchronisation.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.tables import keep, show
from shared.features.crops import crop
from shared.networks import build_network
from shared.networks.fc_gqcnn import convert

CROP_NETWORKS = ("gqcnn", "gqcnn4", "efficientnet")
POLICY_GRASPS = 320
"""Crops that one plan of `gqcnn` scores: 128 seeds and three times 64."""
SIDE = 70
"""Side of the picture on which the fully convolutional form is compared, pixels."""
ALONE = 32
"""Crops scored one by one, from which the time of all is extrapolated."""


def seconds(run: Callable[[], object], device: torch.device, least: float) -> float:
    """Median time of a call, from calls that take `least` seconds together; the first, which warms up, does not count."""
    run()
    times: list[float] = []
    while sum(times) < least or len(times) < 3:
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make(architecture: str, device: torch.device, **parameters: object) -> nn.Module:
    torch.manual_seed(0)
    network = build_network(architecture, dict(parameters)).eval().to(device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # as served


def crops_per_second(device: torch.device, batches: list[int], least: float) -> list[dict[str, Any]]:
    rows = []
    for architecture in CROP_NETWORKS:
        network = make(architecture, device)
        size: int = network.crop_size  # type: ignore[assignment]
        for batch in batches:
            inputs = [0.7 + 0.02 * torch.randn(batch, 1, size, size, device=device)]
            if network.takes_gripper_depth:
                inputs.append(torch.full((batch,), 0.7, device=device))
            rate = batch / seconds(lambda n=network, x=inputs: n(*x), device, least)  # type: ignore[misc]
            rows.append({"network": architecture, "batch": batch, "crops_per_second": rate})
    return rows


def dense_against_crops(device: torch.device, least: float) -> list[dict[str, Any]]:
    """Every 32x32 window of a picture: one fully convolutional pass against one forward pass per window."""
    picture = 0.7 + 0.02 * torch.randn(1, 1, SIDE, SIDE, device=device)
    rows = []
    for padding in ("same", "valid"):
        alone = make("gqcnn", device, padding=padding)
        one = seconds(
            lambda net=alone: [net(picture[:, :, k : k + 32, k : k + 32]) for k in range(ALONE)],  # type: ignore[misc]
            device,
            least,
        )
        for fine in (False, True):
            dense = make("fc-gqcnn", device, padding=padding, high_resolution=fine)
            dense.load_state_dict(convert(alone.state_dict()))
            outputs = dense(picture)[0].numel()
            whole = seconds(lambda net=dense: net(picture), device, least)  # type: ignore[misc]
            by_crop = one / ALONE * outputs
            row = {"padding": padding, "high_resolution": fine, "windows": outputs}
            rows.append({**row, "dense_s": whole, "by_crop_s": by_crop, "ratio": by_crop / whole})
    return rows


def batched_against_alone(device: torch.device, least: float) -> list[dict[str, Any]]:
    """The crops of one plan: cut and scored together against one after the other."""
    image = 0.7 + 0.02 * torch.randn(480, 640, device=device)
    rows = []
    for architecture in ("gqcnn", "gqcnn4"):
        network = make(architecture, device)
        size: int = network.crop_size  # type: ignore[assignment]
        centers = 100 + 250 * torch.rand(POLICY_GRASPS, 2, device=device)
        angles, scale = torch.rand(POLICY_GRASPS, device=device), torch.ones(POLICY_GRASPS, device=device)
        depths = torch.full((POLICY_GRASPS,), 0.7, device=device)

        def score(
            part: slice, network: nn.Module = network, size: int = size, at: tuple[Any, ...] = (centers, angles, scale, depths)
        ) -> None:
            patches = crop(image, at[0][part], at[1][part], at[2][part], (size, size))
            network(patches, at[3][part]) if network.takes_gripper_depth else network(patches)

        together = seconds(lambda go=score: [go(slice(k, k + 64)) for k in range(0, POLICY_GRASPS, 64)], device, least)  # type: ignore[misc]
        single = seconds(lambda go=score: [go(slice(k, k + 1)) for k in range(ALONE)], device, least)  # type: ignore[misc]
        single *= POLICY_GRASPS / ALONE
        rows.append({"network": architecture, "batched_s": together, "one_by_one_s": single, "ratio": single / together})
    return rows


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.networks", description=__doc__, formatter_class=raw)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 128])
    parser.add_argument("--seconds", type=float, default=1.0, help="least time spent on each figure")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("data/bench/networks.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {options.threads} threads"
    with torch.inference_mode():
        report = {
            "crops": crops_per_second(device, options.batches, options.seconds),
            "dense": dense_against_crops(device, options.seconds),
            "policy": batched_against_alone(device, options.seconds),
        }
    show(f"Crops per second ({where})", report["crops"])
    show(f"All windows of {SIDE} x {SIDE} pixels, gqcnn ({where})", report["dense"])
    show(f"The {POLICY_GRASPS} crops of one plan ({where})", report["policy"])
    keep(options.out, {"where": where, **report})


if __name__ == "__main__":
    main()
