"""The rows of the table: a protocol, the planners that are measured in it on identical scenes, and what is aimed at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Measure = Literal["success", "gsr_dr"]


@dataclass(frozen=True)
class Row:
    """One run of `python -m sim_worker.benchmark`. planners: the first is the one that the goal is set for.

    goal: least success rate, or least GSR and DR. options: of the benchmark, beside kind, profile, rounds and planners.
    """

    name: str
    title: str
    kind: str
    profile: str
    planners: tuple[str, ...]
    rounds: int
    goal: tuple[float, ...] = ()
    options: tuple[str, ...] = ()
    cup: bool = False
    baselines: bool = False

    @property
    def measure(self) -> Measure:
        return "success" if self.kind == "single" else "gsr_dr"

    def arguments(self, rounds: int) -> list[str]:
        """Of the benchmark."""
        named = [word for planner in self.planners for word in ("--planner", planner)]
        baselines = "--baselines" if self.baselines else "--no-baselines"
        return [self.kind, "--profile", self.profile, "--rounds", str(rounds), *named, baselines, *self.options]


GEOMETRY = ("dense", "antipodal")
RGB_ONLY = ("--inputs", "rgb", "--inputs", "table_depth", "--drop-inputs", "depth")
TOLD = ("--inputs", "failures")
BIN_OF_15 = ("--count", "15")
ROWS = (
    Row("single-clean", "one object", "single", "clean", GEOMETRY, 300),
    Row("single-standard", "one object", "single", "standard", GEOMETRY, 520, (0.97,), baselines=True),
    Row("single-hard", "one object", "single", "hard", GEOMETRY, 520, (0.90,)),
    Row("single-arm", "one object, whole Panda arm", "single", "standard", ("dense",), 520, (0.95,), ("--hand", "arm")),
    Row("single-allowed", "one object, the hand may push", "single", "standard", GEOMETRY, 300, (), ("--contact", "allowed")),
    Row("single-rgb", "one object, RGB only", "single", "standard", ("heatmap",), 520, (0.88,), RGB_ONLY),
    Row("single-gqcnn", "one object", "single", "standard", ("gqcnn",), 520, (0.93,)),
    Row("single-fc-gqcnn", "one object", "single", "standard", ("fc_gqcnn",), 100),
    Row("single-suction", "one object, 15 mm cup", "single", "standard", ("suction_dense", "suction"), 520, (0.94,), cup=True),
    Row("single-suction-gqcnn", "one object, 15 mm cup", "single", "standard", ("suction_gqcnn",), 300, (), cup=True),
    Row("pile-standard", "pile of 5", "pile", "standard", GEOMETRY, 110, (0.95, 0.96), baselines=True),
    Row("pile-hard", "pile of 5", "pile", "hard", GEOMETRY, 120, (0.86, 0.88)),
    Row("pile-hard-told", "pile of 5, told what failed", "pile", "hard", GEOMETRY, 120, (0.86, 0.88), TOLD),
    Row("packed-standard", "packed 5", "packed", "standard", GEOMETRY, 110, (0.93, 0.94)),
    Row("bin-standard", "bin of 15", "bin", "standard", GEOMETRY, 36, (0.93, 0.97), BIN_OF_15),
    Row("bin-standard-told", "bin of 15, told what failed", "bin", "standard", GEOMETRY, 36, (0.93, 0.97), BIN_OF_15 + TOLD),
)  # fmt: skip
