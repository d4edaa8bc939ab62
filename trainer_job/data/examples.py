"""What a training run draws from: examples that come in batches of tensors."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

Self = TypeVar("Self", bound="TensorBatch")
Batch = TypeVar("Batch", covariant=True)


@dataclass(frozen=True)
class TensorBatch:
    """Base of dataclasses of tensors, which move to a device as one."""

    def to(self: Self, device: torch.device) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {k: v.to(device) for k, v in values.items() if isinstance(v, Tensor | TensorBatch)}
        return replace(self, **moved)


@dataclass(frozen=True)
class FeatureBatch(TensorBatch):
    """features (N, ...), aux (N, F) numbers beside them, labels (N,), 1 for success; float32."""

    features: Tensor
    aux: Tensor
    labels: Tensor


class Dataset(Protocol[Batch]):
    """Examples by number."""

    def __len__(self) -> int: ...

    def batch(self, rows: np.ndarray) -> Batch:
        """The examples (N,) of these numbers, on the CPU."""
        ...


@dataclass(frozen=True)
class Examples:
    """Outcomes in memory: features (N, ...) as they are cached, aux (N, F) float32, labels (N,) float32, 1 for success."""

    features: np.ndarray
    labels: np.ndarray
    aux: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: np.ndarray) -> FeatureBatch:
        arrays = (self.features, self.aux, self.labels)
        return FeatureBatch(*(torch.from_numpy(array[rows].astype(np.float32)) for array in arrays))


def in_order(data: Dataset[Batch], size: int) -> Iterator[Batch]:
    """All examples, `size` at a time."""
    return (data.batch(np.arange(start, min(start + size, len(data)))) for start in range(0, len(data), size))
