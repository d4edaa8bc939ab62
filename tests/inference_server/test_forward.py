"""How networks run: batches padded to sizes that are ready, half precision that stays near, recorded graphs on a GPU."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from places import SHIPPED
from serving import CAMERA, Running, publish_dense, serving, settings
from torch import Tensor, nn

from inference_server.service import Service
from planning.networks.device import SIZES, Execution, choose_execution, to_device
from planning.networks.forward import PARITY, Forward, largest_change
from shared.networks import architectures, build_network
from shared.registry import Registry

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Counting(nn.Module):
    """Adds up each row, and remembers how large its batches were."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: Tensor, depth: Tensor) -> Tensor:
        self.batches.append(len(images))
        return images.sum((1, 2)) + depth

    def golden_batch(self) -> tuple[Tensor, ...]:
        return torch.ones(2, 3, 3), torch.ones(2)


def prepared(module: Counting, execution: Execution) -> Forward:
    forward = Forward(module, execution)
    with torch.inference_mode():
        forward.prepare(module.golden_batch())
    module.batches.clear()
    return forward


def test_batches_are_padded_to_sizes_that_are_ready_and_cut_again() -> None:
    module = Counting()
    forward = prepared(module, Execution(CPU, sizes=(1, 4, 8)))
    for count in (1, 2, 4, 5):
        images, depth = torch.rand(count, 3, 3), torch.rand(count)
        torch.testing.assert_close(forward(images, depth), images.sum((1, 2)) + depth)
    assert module.batches == [1, 4, 4, 8]


def test_what_was_not_made_ready_runs_as_it_comes() -> None:
    module = Counting()
    forward = prepared(module, Execution(CPU, sizes=(1, 4)))
    assert forward(torch.rand(7, 3, 3), torch.rand(7)).shape == (7,), "larger than the largest size"
    assert forward(torch.rand(2, 5, 5), torch.rand(2)).shape == (2,), "another image"
    assert forward(torch.rand(0, 3, 3), torch.rand(0)).shape == (0,)
    assert module.batches == [7, 2, 0]


def test_every_size_is_run_once_beforehand() -> None:
    module = Counting()
    Forward(module, Execution(CPU, sizes=(1, 4, 8))).prepare(module.golden_batch())
    assert module.batches == [1, 4, 8]


def test_inputs_too_large_to_be_kept_ready_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planning.networks.forward.WARM_BYTES", 4 * (9 + 1) * 4)
    assert prepared(Counting(), Execution(CPU, sizes=(1, 4, 8))).sizes == [1, 4]


@pytest.mark.parametrize("architecture", sorted(architectures()))
def test_half_precision_stays_near_for_every_architecture(architecture: str) -> None:
    torch.manual_seed(0)
    few_turns = {"rotations": 2} if architecture == "push-grasp-qmap" else {}  # each is a pass of its own
    module = build_network(architecture, few_turns).eval()
    forward = Forward(module, Execution(CPU, torch.bfloat16))
    with torch.inference_mode():
        forward.prepare(module.golden_batch())
        half, full = forward(*module.golden_batch()), module(*module.golden_batch())
    assert largest_change(half, full) <= PARITY
    outputs = half if isinstance(half, tuple) else (half,)
    assert all(output.dtype == torch.float32 for output in outputs)


@pytest.mark.parametrize("name", Registry(SHIPPED).names())
def test_half_precision_of_shipped_weights(name: str) -> None:
    from planning.networks.loading import load_network

    registry = Registry(SHIPPED)
    network = load_network(registry, name, registry.champion(name) or 1, None, CPU)
    forward = Forward(network.module, Execution(CPU, torch.bfloat16))
    with torch.inference_mode():
        golden = network.module.golden_batch()
        forward.prepare(golden)
        assert forward.dtype == torch.bfloat16
        assert largest_change(forward(*golden), network.module(*golden)) <= PARITY


def test_a_network_that_half_precision_harms_runs_in_float32(caplog: pytest.LogCaptureFixture) -> None:
    class Fine(nn.Module):
        """Looks at what bfloat16 cannot hold: a ten-thousandth of a number near 1."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Linear(1, 1, bias=False)
            nn.init.constant_(self.scale.weight, 1.0)

        def forward(self, rows: Tensor) -> Tensor:
            return (self.scale(rows)[:, 0] - 1.0) * 1e4

    module = Fine()
    forward = Forward(module, Execution(CPU, torch.bfloat16))
    rows = torch.tensor([[1.0001], [0.9999]])
    forward.prepare((rows,))
    assert forward.dtype == torch.float32
    assert "running in float32" in caplog.text
    torch.testing.assert_close(forward(rows), module(rows))


def test_the_device_decides() -> None:
    cpu = choose_execution("cpu", "auto")
    assert (cpu.plain, cpu.precision, cpu.sizes) == (True, "float32", ())
    half = choose_execution("cpu", "bfloat16")
    assert (half.plain, half.precision) == (False, "bfloat16")
    copied = to_device(torch.ones(2).numpy(), CPU)
    assert torch.equal(copied, torch.ones(2))


def test_planning_takes_one_thread_or_every_core_that_it_may_use(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert Service(settings(tmp_path, torch_threads=0)).threads == 1
    finally:
        os.sched_setaffinity(0, before)
    assert Service(settings(tmp_path, torch_threads=0)).threads == len(before)
    assert Service(settings(tmp_path)).threads == 1


def test_a_server_says_how_it_computes(server: Running) -> None:
    ready = server.client.get("/ready").json()
    assert (ready["device"], ready["dtype"], ready["threads"], ready["batch_sizes"]) == ("cpu", "float32", 1, [])


def with_a_say(state: dict) -> dict:
    """Weights whose last layer is not zero, as it is before training."""
    *_, name = (name for name in state if name.startswith("head.") and name.endswith(".weight"))
    return {**state, name: torch.randn(state[name].shape, generator=torch.Generator().manual_seed(0)) * 0.3}


def test_a_server_in_half_precision_plans_the_same_and_says_so(tmp_path: Path) -> None:
    publish_dense(tmp_path, 0, damage=with_a_say)
    found = {}
    for dtype in ("float32", "bfloat16"):
        with serving(settings(tmp_path, dtype=dtype, device="cpu")) as running:
            assert running.client.get("/ready").json()["dtype"] == dtype
            reply = running.raw(options={"camera": CAMERA, "planner": "dense", "n_grasps": 5}).json()
            found[dtype] = np.array([grasp["quality"] for grasp in reply["grasps"]])
    full, half = found.values()
    assert len(full) == len(half) > 1
    assert np.ptp(full) > 0
    assert 0 < np.abs(full - half).max() <= PARITY


@needs_gpu
def test_a_gpu_gets_padded_half_precision_batches_and_recorded_graphs() -> None:
    torch.manual_seed(0)
    execution = choose_execution("cuda", "auto")
    assert execution.sizes == SIZES
    module = build_network("dense", {}).to(execution.device).eval()
    nn.init.normal_(module.head[-1].weight, std=0.05)
    forward = Forward(module, execution)
    with torch.inference_mode():
        forward.prepare(module.golden_batch())
        [golden] = module.golden_batch()
        for count in (1, 3, 5, 200, 3000):
            batch = torch.rand(count, *golden.shape[1:], device=execution.device)
            assert largest_change(forward(batch), module(batch)) <= PARITY
    assert forward._recordings, "no batch size got faster by being recorded"
