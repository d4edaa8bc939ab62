"""The rows of the table: a protocol, the planners that are measured in it on identical scenes, and what is aimed at."""

from __future__ import annotations

import json
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
CUPS = ("suction_dense", "suction")
FLAT = ("suction_dense", "flattest")
RGB_ONLY = ("--inputs", "rgb", "--inputs", "table_depth", "--drop-inputs", "depth")
TOLD = ("--inputs", "failures")
BIN_OF_15 = ("--count", "15")
DRAWN_BINS = ("--draw-bins",)
MESH = ("--hand", "mesh")
"""The Panda hand's own meshes execute, whatever the planner takes the hand for."""
TOLD_BIN = BIN_OF_15 + MESH + TOLD
HOUSEHOLD = ("--object-set", "household")
CURVED = ("--object-set", "curved")
CUP_15, CUP_30 = (("--gripper", f"suction_{radius}mm") for radius in ("7.5", "15"))
"""By diameter."""
FILL = ("--fill", "0.3,0.9")
SMALL_HANDS = {
    opening: {
        "max_width": opening / 1000,
        "finger_width": round(0.25 * opening / 1000, 5),
        "finger_thickness": round(0.2 * opening / 1000, 5),
        "finger_depth": round(0.7 * opening / 1000, 5),
        "palm_width": 2 * opening / 1000,
        "palm_thickness": 0.6 * opening / 1000,
    }
    for opening in (10, 20)
}
"""Sizes of hands of which no preset exists, by their opening, mm."""
HANDS = {
    **{opening: json.dumps(sizes) for opening, sizes in SMALL_HANDS.items()},
    85: "robotiq_2f_85",
    140: "robotiq_2f_140",
}
CARRY = ("--carry", "up_beyond_60")
"""As VGN and GIGA do: back along the approach, straight up where it leans more than 60 degrees."""
SIDE = ("--view", "side_640", "--lean", "60", *MESH, *CARRY)
"""Their camera too, but for its pose error and noise, which are those of the profile."""
STEEP = ("--view", "side_640", "--lean", "70", "--approach", "60", *MESH, *CARRY)
ANY_SIDE, STEEP_ONLY = ("tilted", "dense"), ("tilted",)
ALLOWED = ("--contact", "allowed")
ONE = ("--count", "1")
WIDTHS = {66: 0.99, 70: 0.97, 72: 0.95, 74: 0.90, 76: 0.50}
"""Of boxes, mm, and what is aimed at with a jaw of 80 mm."""


def width_row(width: int, goal: float) -> Row:
    box = ("--named", f"box/{width}x110x40", "--upright")
    return Row(f"width-{width}", f"box {width} mm wide", "single", "standard", GEOMETRY, 100, (goal,), box + MESH)


def hand_row(opening: int, gripper: str) -> Row:
    title = f"one object, jaw of {opening} mm"
    return Row(f"hand-{opening}", title, "single", "standard", GEOMETRY, 150, (0.90,), ("--gripper", gripper, *FILL))


ROWS = (
    Row("single-clean", "one object", "single", "clean", GEOMETRY, 300),
    Row("single-standard", "one object", "single", "standard", GEOMETRY, 520, (0.97,), baselines=True),
    Row("single-hard", "one object", "single", "hard", GEOMETRY, 520, (0.90,)),
    Row("single-arm", "one object, whole Panda arm", "single", "standard", ("dense",), 300, (0.95,), ("--hand", "arm")),
    Row("single-allowed", "one object, the hand may push", "single", "standard", GEOMETRY, 300, (), ("--contact", "allowed")),
    Row("single-household", "one household thing", "single", "standard", GEOMETRY, 300, (), HOUSEHOLD + MESH),
    *(width_row(width, goal) for width, goal in WIDTHS.items()),
    *(hand_row(opening, gripper) for opening, gripper in HANDS.items()),
    Row("single-near", "one object, camera at 0.25–0.35 m", "single", "standard", GEOMETRY, 200, (), ("--view", "near")),
    Row("single-far", "one object, camera at 1.2–2 m", "single", "standard", GEOMETRY, 200, (), ("--view", "far")),
    Row("single-rgb", "one object, RGB only", "single", "standard", ("heatmap",), 520, (0.95,), RGB_ONLY),
    Row("household-rgb", "household, RGB only", "single", "standard", ("heatmap",), 300, (0.85,), RGB_ONLY + HOUSEHOLD),
    Row("single-gqcnn", "one object", "single", "standard", ("gqcnn",), 300, (0.93,)),
    Row("single-fc-gqcnn", "one object", "single", "standard", ("fc_gqcnn",), 100),
    Row("single-suction", "one object, 15 mm cup", "single", "standard", (*CUPS, "flattest"), 520, (0.85,), CUP_15),
    Row("single-suction-30", "one object, 30 mm cup", "single", "standard", (*CUPS, "flattest"), 300, (), CUP_30),
    Row("curved-suction-30", "one curved thing, 30 mm cup", "single", "standard", FLAT, 200, (0.85,), CUP_30 + CURVED),
    Row("single-suction-gqcnn", "one object, 15 mm cup", "single", "standard", ("suction_gqcnn",), 300, (), CUP_15),
    Row("pile-standard", "pile of 5", "pile", "standard", GEOMETRY, 110, (0.98, 0.98), MESH, baselines=True),
    Row("pile-hard", "pile of 5", "pile", "hard", GEOMETRY, 120, (0.86, 0.88), MESH),
    Row("pile-hard-told", "pile of 5, told what failed", "pile", "hard", GEOMETRY, 120, (0.86, 0.88), MESH + TOLD),
    Row("pile-tilted", "pile of 5, camera at 20–45°", "pile", "standard", GEOMETRY, 100, (0.95, 0.95), ("--view", "tilted")),
    Row("side-single", "one object, camera at 60°, carried back or up", "single", "standard", ANY_SIDE, 300, (0.97,), SIDE),
    Row("side-single-hard", "one object, camera at 60°, carried back or up", "single", "hard", ANY_SIDE, 200, (), SIDE),
    Row("steep-single", "one object, approaches of 60° alone", "single", "standard", STEEP_ONLY, 150, (0.96,), STEEP),
    Row("side-pile", "pile of 5, camera at 60°, carried back or up", "pile", "standard", ANY_SIDE, 100, (0.95, 0.95), SIDE),
    Row("side-pile-allowed", "the same, the hand may push", "pile", "standard", ANY_SIDE, 100, (0.95, 0.95), SIDE + ALLOWED),
    Row("side-pile-hard", "pile of 5, camera at 60°, carried back or up", "pile", "hard", ANY_SIDE, 200, (), SIDE),
    Row("side-packed", "packed 5, camera at 60°, carried back or up", "packed", "standard", ANY_SIDE, 100, (0.97, 0.96), SIDE),
    Row("shelf-packed", "things in a shelf", "shelf", "standard", STEEP_ONLY, 100, (0.97, 0.97), MESH),
    Row("shelf-single", "one thing in a shelf", "shelf", "standard", STEEP_ONLY, 150, (0.92, 0.92), ONE + MESH),
    Row("leaning", "things that lean in a bin", "leaning", "standard", ANY_SIDE, 60, (), DRAWN_BINS + MESH),
    Row("pile-suction-30", "pile of 5, 30 mm cup", "pile", "standard", CUPS, 60, (0.92, 0.92), CUP_30),
    Row("packed-standard", "packed 5", "packed", "standard", GEOMETRY, 110, (0.99, 0.99), MESH),
    Row("bin-standard", "bin of 15", "bin", "standard", GEOMETRY, 36, (0.95, 0.97), BIN_OF_15 + MESH),
    Row("bin-standard-told", "bin of 15, told what failed", "bin", "standard", GEOMETRY, 36, (0.95, 0.97), TOLD_BIN),
    Row("bin-hard", "bin of 15", "bin", "hard", GEOMETRY, 36, (0.75, 0.70), BIN_OF_15 + MESH),
    Row("bin-drawn", "bin of any size and place", "bin", "standard", GEOMETRY, 50, (), DRAWN_BINS + MESH),
    Row("bin-suction-30", "bin of 15, 30 mm cup", "bin", "standard", CUPS, 24, (0.85, 0.90), BIN_OF_15 + CUP_30),
)  # fmt: skip
