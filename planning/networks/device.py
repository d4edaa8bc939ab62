"""Where and how networks run: the device, the precision, and the batch sizes that they are made ready for."""

import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SIZES = tuple(2**power for power in range(12))
"""Batch sizes on a GPU: a batch is padded to the next of them, so that kernels are chosen and graphs recorded only once."""


@dataclass(frozen=True)
class Execution:
    """sizes: batch sizes that are made ready; none: a batch runs as it comes, as on the CPU, where shapes cost nothing."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    sizes: tuple[int, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether a network's own forward is all there is to it."""
        return self.dtype == torch.float32 and not self.sizes

    @property
    def precision(self) -> str:
        return str(self.dtype).removeprefix("torch.")


def choose_execution(device: str, dtype: str) -> Execution:
    """For the settings `device` (auto, cpu, cuda, cuda:N) and `dtype` (auto, float32, bfloat16). Raises ValueError.

    `auto`: the first CUDA device if there is one; bfloat16 where the GPU has it, float32 elsewhere.
    """
    chosen = pick_device(device)
    if chosen.type == "cpu":
        return Execution(chosen, torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    half = dtype == "bfloat16" or (dtype == "auto" and torch.cuda.is_bf16_supported())
    return Execution(chosen, torch.bfloat16 if half else torch.float32, SIZES)


def pick_device(wanted: str) -> torch.device:
    """`auto` takes the first CUDA device if there is one. Raises ValueError for a device that torch does not have."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {wanted!r} cannot be used: {str(error).splitlines()[0]}; expected auto, cpu or cuda:N"
        ) from error
    return device


def usable_cores() -> int:
    """Cores that this process may run on, which may be fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy of an array on the device; to a GPU through pinned memory, so that the host does not wait for it."""
    tensor = torch.tensor(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
