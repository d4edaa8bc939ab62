"""What candidates of every gripper have in common: N poses and what was measured of each, picked and joined together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from torch import Tensor

Record = TypeVar("Record")
Self = TypeVar("Self", bound="Candidates")


@dataclass(frozen=True)
class Candidates:
    """Base of frozen dataclasses of tensors, and of dataclasses of them, whose first axis has the same length N."""

    def pick(self: Self, which: Tensor) -> Self:
        """The candidates at indices or where a mask (N,) is true; these themselves where it is true for all."""
        if which.dtype == torch.bool:
            if which.all():
                return self
            which = torch.nonzero(which).squeeze(1)
        return _combined([self], lambda columns: columns[0].index_select(0, which))

    def join(self: Self, other: Self) -> Self:
        """These candidates followed by the others."""
        return _combined([self, other], torch.cat)


def _combined(records: Sequence[Record], change: Callable[[list[Tensor]], Tensor]) -> Record:
    """A record of the same kind, each tensor what `change` makes of those of the records."""
    kind: type[Record] = type(records[0])
    given = (field.name for field in fields(kind) if field.init)  # type: ignore[arg-type]
    values = ([getattr(record, name) for record in records] for name in given)
    return kind(*(change(each) if isinstance(each[0], Tensor) else _combined(each, change) for each in values))
