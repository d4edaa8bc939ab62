"""One process or several: what torchrun sets up, behind one small type."""

import gc
import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist

T = TypeVar("T")
TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class DistContext:
    """This process among those that train together. Rank 0 ingests, decides and publishes; the others only train."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        return self.rank == 0

    def slice(self, batch: np.ndarray) -> np.ndarray:
        """This rank's share of a batch; never empty, since an empty one would skip the exchange of gradients."""
        share = batch[self.rank :: self.world]
        return share if len(share) >= 2 else batch

    def broadcast(self, value: T) -> T:
        """Rank 0's value, on every rank."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank; every rank gets the same answer, so that all leave a loop together."""
        if self.world == 1:
            return flag
        votes = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return bool(votes.item())


SINGLE = DistContext()


def join(threads: int = 0) -> DistContext:
    """Joins the processes that torchrun started, over NCCL where each has a GPU of its own and over Gloo elsewhere.

    threads: of each process on the CPU; 0: one less than there are cores, since threads that wait for each other on a core
    that others use are many times slower than a single one.
    """
    torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) - 1))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    gpu = torch.cuda.is_available() and torch.cuda.device_count() > local
    device = torch.device("cuda", local) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if world == 1:
        return DistContext(device=device)
    dist.init_process_group("nccl" if gpu else "gloo", timeout=TIMEOUT)
    return DistContext(dist.get_rank(), world, device)


def leave() -> None:
    """Leave together: a process that goes while another still talks to it takes that one down with it."""
    if dist.is_available() and dist.is_initialized():
        gc.collect()  # what trained in parallel holds threads that must end before the group does
        dist.barrier()
        dist.destroy_process_group()
