"""What candidates of every gripper have in common: N poses and what was measured of each, picked and joined together."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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

    def best_first(self: Self, values: Tensor) -> Self:
        """The candidates sorted by their values (N,)."""
        return self.pick(torch.argsort(values, descending=True, stable=True))

    def filtered(self: Self, reasons: Mapping[str, Tensor]) -> tuple[Self, Counter[str]]:
        """The candidates that none of the reasons, masks (N,), refuses, and how many each does: the first tried counts."""
        rejected: Counter[str] = Counter()
        keep = torch.ones_like(next(iter(reasons.values())))
        for reason, refused in reasons.items():
            rejected[reason] += int((keep & refused).sum())
            keep &= ~refused
        return self.pick(keep), rejected

    def join(self: Self, *others: Self) -> Self:
        """These candidates followed by the others."""
        return _combined([self, *others], torch.cat)


def _combined(records: Sequence[Record], change: Callable[[list[Tensor]], Tensor]) -> Record:
    """A record of the same kind, each tensor what `change` makes of those of the records; a flag holds that holds for all."""
    kind = type(records[0])
    made = object.__new__(kind)  # what a record derives from its fields is combined as they are, not derived again
    for field in fields(kind):  # type: ignore[arg-type]
        values = [getattr(record, field.name) for record in records]
        if isinstance(values[0], Tensor):
            made.__dict__[field.name] = change(values)
        else:
            made.__dict__[field.name] = all(values) if isinstance(values[0], bool) else _combined(values, change)
    return made
