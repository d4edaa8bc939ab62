"""A network's forward as a device likes it: half precision, batches padded to sizes that are ready, recorded CUDA graphs."""

import logging
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from planning.networks.device import Execution

logger = logging.getLogger(__name__)

Outputs = Tensor | tuple[Tensor, ...]
Run = Callable[..., Outputs]

PARITY = 0.02
"""Most that a probability of the golden batch may change in half precision; beyond it the network runs in float32."""
WARM_BYTES = 64 * 2**20
"""Largest input that is made ready beforehand."""
RECORDED = 256
"""Largest batch that is recorded: beyond it the GPU works longer than the host needs to launch."""
TRIES = 10


class Forward:
    """Takes the place of `module.forward`. Inputs have the batch as their first axis; outputs are float32.

    `prepare` must be called in the thread that will run it.
    """

    def __init__(self, module: nn.Module, execution: Execution):
        self._run: Run = module.forward
        self.device, self.dtype, self._wanted = execution.device, execution.dtype, execution.sizes
        self.sizes: list[int] = []
        self._rows: tuple[torch.Size, ...] = ()
        self._recordings: dict[int, Recording] = {}

    def __call__(self, *inputs: Tensor) -> Outputs:
        count = len(inputs[0])
        size = next((size for size in self.sizes if size >= count), 0)
        if not count or not size or _rows(inputs) != self._rows:
            return self.eager(*inputs)
        inputs = tuple(_padded(each, size) for each in inputs)
        outputs = self._recordings.get(size, self.eager)(*inputs)
        return _each(outputs, lambda output: output[:count])

    def eager(self, *inputs: Tensor) -> Outputs:
        """The batch as it is, kernel by kernel."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16, cache_enabled=False):
            return _each(self._run(*inputs), Tensor.float)

    @torch.inference_mode()
    def prepare(self, golden: tuple[Tensor, ...]) -> None:
        """Check the precision on a golden batch, then run every size once and record those that get faster by it."""
        inputs = tuple(each.to(self.device) for each in golden)
        if self.dtype == torch.bfloat16 and (error := largest_change(self.eager(*inputs), self._run(*inputs))) > PARITY:
            logger.warning("bfloat16 changes a probability by %.3f (more than %.3f): running in float32", error, PARITY)
            self.dtype = torch.float32
        self._rows = _rows(inputs)
        row = sum(each[:1].nbytes for each in inputs)
        self.sizes = [size for size in self._wanted if size * row <= WARM_BYTES]
        for size in self.sizes:
            self._make_ready(size, tuple(_padded(each[:1], size) for each in inputs))

    def _make_ready(self, size: int, inputs: tuple[Tensor, ...]) -> None:
        self.eager(*inputs)
        if self.device.type != "cuda" or size > RECORDED:
            return
        try:
            recording = Recording(self.eager, inputs)
        except RuntimeError as error:  # a forward that asks the device for a number cannot be recorded
            logger.info("batches of %d are not recorded: %s", size, str(error).splitlines()[0])
            return
        if _seconds(recording, inputs) < _seconds(self.eager, inputs):
            self._recordings[size] = recording


class Recording:
    """A CUDA graph of one forward: one launch, whatever the number of kernels. It reads the weights where they lie."""

    def __init__(self, run: Run, inputs: tuple[Tensor, ...]):
        self._inputs = tuple(each.clone() for each in inputs)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # kernels are chosen in the first runs, which must not be recorded
            for _ in range(3):
                run(*self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = run(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Outputs:
        for mine, given in zip(self._inputs, inputs, strict=True):
            mine.copy_(given, non_blocking=True)
        self._graph.replay()
        return _each(self._outputs, Tensor.clone)


def largest_change(half: Outputs, full: Outputs) -> float:
    """Largest difference of the probabilities that two sets of logits stand for."""
    pairs = zip(_several(half), _several(full), strict=True)
    return max(float((a.float().sigmoid() - b.float().sigmoid()).abs().max()) for a, b in pairs)


def _seconds(run: Run, inputs: tuple[Tensor, ...]) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(TRIES):
        run(*inputs)
    torch.cuda.synchronize()
    return time.perf_counter() - started


def _padded(batch: Tensor, size: int) -> Tensor:
    missing = size - len(batch)
    return batch if not missing else torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])])


def _rows(inputs: tuple[Tensor, ...]) -> tuple[torch.Size, ...]:
    return tuple(each.shape[1:] for each in inputs)


def _several(outputs: Outputs) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _each(outputs: Outputs, change: Callable[[Tensor], Tensor]) -> Outputs:
    return tuple(map(change, outputs)) if isinstance(outputs, tuple) else change(outputs)
