"""Preset scenes: the text files in which published work on pushing to grasp keeps its test cases.

A line is one block: `mesh r g b x y z alpha beta gamma`, the mesh as `<number>.obj`, colours 0 to 1, metres, radians in V-REP's
order (R = Rx Ry Rz), about the middle of the block's bounding box.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from sim_worker.world.objects.blocks import BLOCKS
from sim_worker.world.objects.objects import ObjectModel
from sim_worker.world.simulation.physics import Physics
from sim_worker.world.simulation.spec import GOAL_WORKSPACE, SceneError

if TYPE_CHECKING:
    from sim_worker.world.simulation.placement import PlacedObject

SHIFT = np.array([0.5, 0.1, -0.001])
"""m from a file's frame to the base frame: the published workspace lies beside its robot."""
MESH_AXES = Rotation.from_matrix([[0, 0, 1], [0, -1, 0], [1, 0, 0]])
"""Turn of a block's own frame (z up as it stands, `blocks`) into its mesh's."""
UPRIGHT_MESH = "block/6"
"""Its mesh stands along z already."""
FALLEN = -1.0
"""m: what lies lower fell off the table when the file was written."""


@dataclass(frozen=True)
class CaseLine:
    """One block of a file. position (m), turn: of its bounding box's middle and its own frame, in the base frame."""

    name: str
    colour: tuple[float, float, float]
    position: np.ndarray
    turn: Rotation

    @property
    def usable(self) -> bool:
        """Whether it lies in the workspace."""
        return bool((np.abs(self.position[:2]) <= GOAL_WORKSPACE).all() and self.position[2] > FALLEN)


def read_case(path: Path) -> list[CaseLine]:
    """Every line of a preset file, also of blocks that have fallen. Raises SceneError with the line that is none."""
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), start=1):
        if not (words := text.split()):
            continue
        name = f"block/{Path(words[0]).stem}"
        try:
            values = np.array([float(word) for word in words[1:]])
        except ValueError:
            values = np.zeros(0)
        if len(values) != 9 or name not in BLOCKS or not np.isfinite(values).all():
            raise SceneError(
                f"{path}, line {number}: expected `mesh r g b x y z alpha beta gamma` with a mesh of "
                f"{', '.join(each.removeprefix('block/') for each in BLOCKS)}, got {text[:80]!r}"
            )
        turn = Rotation.from_euler("XYZ", values[6:]) * _axes(name)
        lines.append(CaseLine(name, (values[0], values[1], values[2]), values[3:6] + SHIFT, turn))
    return lines


def write_case(path: Path, lines: list[CaseLine]) -> None:
    """Writes a preset file that `read_case` reads back."""
    text = []
    for line in lines:
        angles = (line.turn * _axes(line.name).inv()).as_euler("XYZ")
        values = [*line.colour, *(line.position - SHIFT), *angles]
        text.append(" ".join([f"{line.name.removeprefix('block/')}.obj", *(f"{value:.6f}" for value in values)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(text) + "\n")


def case_names(path: Path) -> list[str]:
    """Names of the blocks of a file that lie in the workspace, in its order."""
    return [line.name for line in read_case(path) if line.usable]


def case_objects(physics: Physics, path: Path, objects: "list[PlacedObject]") -> "list[PlacedObject]":
    """The objects, drawn for `case_names`, where the file says."""
    lines = [line for line in read_case(path) if line.usable]
    placed = []
    for line, each in zip(lines, objects, strict=True):
        position = line.position - line.turn.apply(_box_middle(physics, each.model))
        turn = line.turn.as_quat()
        placed.append(
            replace(
                each,
                colour=(*line.colour, 1.0),
                position=(float(position[0]), float(position[1]), float(position[2])),
                orientation=(float(turn[0]), float(turn[1]), float(turn[2]), float(turn[3])),
            )
        )
    return placed


def case_line(physics: Physics, placed: "PlacedObject") -> CaseLine:
    """A block as it lies in a scene. Raises SceneError for another object: preset files know blocks alone."""
    name = placed.name.partition("#")[0]
    if name not in BLOCKS:
        raise SceneError(f"a preset file can hold blocks alone, and the scene has {placed.name!r}: draw it from the set blocks")
    turn = Rotation.from_quat(placed.orientation)
    middle = np.array(placed.position) + turn.apply(_box_middle(physics, placed.model))
    red, green, blue = placed.colour[:3] if placed.colour else (0.6, 0.6, 0.6)
    return CaseLine(name, (red, green, blue), middle, turn)


def _axes(name: str) -> Rotation:
    return Rotation.identity() if name == UPRIGHT_MESH else MESH_AXES


def _box_middle(physics: Physics, model: ObjectModel) -> np.ndarray:
    """(3,) m: the middle of the bounding box in the centre-of-mass frame."""
    body = model.spawn(physics, (0, 0, 0), (0, 0, 0, 1))
    low, high = physics.client.getAABB(body)
    physics.client.removeBody(body)
    result: np.ndarray = (np.array(low) + np.array(high)) / 2
    return result
