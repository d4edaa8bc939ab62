"""Convolution of many small maps at once: on a CPU by spectra, with a tenth of the products of the direct sum.

The transforms are matrix products, because maps of a few dozen cells are too small for a fast Fourier transform to pay, and
with cells first and channels last nothing has to be moved between the four products and the one per frequency.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_BATCH = 8
"""Fewer maps are convolved directly: reading the kernel's spectrum would cost more."""
LARGEST = 40
"""Widest map, cells: wider ones are few, and have a spectrum of their own per size."""
LEAST_WORK = 25 * 32 * 32
"""Products per output cell, of all channels, from which spectra win."""


class BatchConv2d(nn.Conv2d):
    """`nn.Conv2d` without stride, of the same parameters and values.

    Batches of square maps are convolved by spectra where no gradient is asked for, on a CPU; rounding is smaller than that of
    the direct sum. The spectrum of the kernel is made at the first batch and kept: about size^2 times in_channels times
    out_channels floats.
    """

    def __init__(self, in_channels: int, out_channels: int, side: int, padding: int = 0) -> None:
        super().__init__(in_channels, out_channels, side, padding=padding)
        self._spectrum: tuple[tuple[int, int, int], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        wanted = batch >= LEAST_BATCH and height == width <= LARGEST and self.weight.numel() >= LEAST_WORK
        if not wanted or x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
            return super().forward(x)
        return self._by_spectrum(x)

    def _by_spectrum(self, x: Tensor) -> Tensor:
        """Values of the direct sum for x (N, C, size, size), channels last."""
        batch, _, size, _ = x.shape
        padding, kernel = int(self.padding[0]), self.kernel_size[0]
        period = size + padding  # what lies beyond one rim is what lies beyond the other: zeros
        outputs = size + 2 * padding - kernel + 1
        down, right, left, up = _transforms(size, period, outputs)
        half = period // 2 + 1
        found = torch.mm(down, x.permute(2, 3, 0, 1).reshape(size, -1))
        found = torch.matmul(right, found.reshape(half, 2 * size, -1))
        found = found.reshape(half, 2, period, batch, -1).transpose(1, 2).reshape(half * period, 2 * batch, -1)
        products = torch.bmm(found, self._kernel(period)).reshape(half, period, 2, batch, 2, self.out_channels)
        spectrum = x.new_empty(half, 2, period, batch, self.out_channels)
        torch.sub(products[:, :, 0, :, 0], products[:, :, 1, :, 1], out=spectrum[:, 0])
        torch.add(products[:, :, 0, :, 1], products[:, :, 1, :, 0], out=spectrum[:, 1])
        found = torch.matmul(left, spectrum.reshape(half, 2 * period, -1)).reshape(2 * half, -1)
        found = torch.mm(up, found).reshape(outputs, outputs, batch, self.out_channels).permute(2, 0, 1, 3).contiguous()
        return (found if self.bias is None else found.add_(self.bias)).permute(0, 3, 1, 2)

    def _kernel(self, period: int) -> Tensor:
        """Conjugate spectrum (frequencies, in, 2 out) of the weights as they are now, real beside imaginary: a convolution of a
        network correlates."""
        weight = self.weight.detach()
        version = (period, weight.data_ptr(), 0 if weight.is_inference() else weight._version)
        if self._spectrum is None or self._spectrum[0] != version:
            padding, spare = int(self.padding[0]), period - self.kernel_size[0]
            shifted = F.pad(weight.double(), (0, spare, 0, spare)).roll((-padding, -padding), (2, 3))
            spectrum = torch.fft.fft2(shifted).conj()[:, :, : period // 2 + 1]
            spectrum = spectrum.permute(2, 3, 1, 0).reshape(-1, weight.shape[1], weight.shape[0])
            self._spectrum = version, torch.cat([spectrum.real, spectrum.imag], 2).float()
        return self._spectrum[1]


@lru_cache(maxsize=8)
def _transforms(size: int, period: int, outputs: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fourier transforms of `period` as real matrices: of a column of `size` cells, of a row of half spectra, and their reverse
    up to `outputs` cells. Complex numbers are pairs; only half the frequencies of a column are kept, its values being real."""
    full, half = torch.arange(period).double(), torch.arange(period // 2 + 1).double()
    turn = 2 * math.pi / period
    column, row = turn * half[:, None] * full[:size], turn * full[:, None] * full[:size]
    down = torch.stack([column.cos(), -column.sin()], 1).reshape(-1, size)
    right = _complex(row.cos(), -row.sin())
    row, column = turn * full[:outputs, None] * full, turn * full[:outputs, None] * half
    left = _complex(row.cos(), row.sin()) / period
    twice = torch.where((half == 0) | (2 * half == period), 1.0, 2.0) / period
    up = torch.stack([twice * column.cos(), -twice * column.sin()], 2).reshape(outputs, -1)
    return down.float(), right.float(), left.float(), up.float()


def _complex(real: Tensor, imaginary: Tensor) -> Tensor:
    """A complex matrix as one on pairs of real and imaginary parts."""
    return torch.cat([torch.cat([real, -imaginary], 1), torch.cat([imaginary, real], 1)])
