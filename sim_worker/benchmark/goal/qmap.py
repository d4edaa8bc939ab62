"""The policy of published work: grasp the goal where the best value of that is high enough, else make the best push."""

from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import numpy as np

from grasp_client.contract import Gripper, ModelRef
from shared.maps.orthographic import OrthographicMaps, place_of_cell
from sim_worker.tasks.goal_episode import Decision, Look, Move
from sim_worker.tasks.map_actions import grasp_at, push_at
from sim_worker.world.camera.orthographic import orthographic_maps

GROUP = "grasploop.qmaps"


class Qmaps(Protocol):
    """Values at all cells of a map."""

    @property
    def ref(self) -> ModelRef: ...

    @property
    def grasp_from(self) -> float:
        """Value from which on a grasp of the goal is made."""

    def __call__(self, seen: OrthographicMaps) -> np.ndarray:
        """Values (2, rotations, rows, columns) of pushes and grasps, by direction in steps of a full turn / rotations."""


@dataclass
class QmapPolicy:
    """Call it with each look."""

    values: Qmaps
    gripper: Gripper

    def __call__(self, look: Look) -> Move:
        seen = orthographic_maps(look.view, look.mask)
        pushes, grasps = self.values(seen)
        grasps = np.where(seen.goal, grasps, -np.inf)
        grasp = bool(grasps.max() >= self.values.grasp_from)
        wanted = grasps if grasp else pushes
        turn, row, column = (int(each) for each in np.unravel_index(int(wanted.argmax()), wanted.shape))
        angle, place = 2 * np.pi * turn / len(wanted), place_of_cell(row, column)
        value = float(1 / (1 + np.exp(-wanted.max())))
        told = Decision(value if grasp else 0.0, "grasp" if grasp else "push", model=self.values.ref)
        if grasp:
            return Move("grasp", told, grasp=grasp_at(seen, place, angle, look.view, self.gripper), value=value)
        return Move("push", told, push=push_at(seen, place, angle), value=value)


def load_qmaps(models_dir: Path) -> Qmaps:
    """The network of a registry. Raises ValueError where there is none, or what runs it is not installed."""
    found = list(entry_points(group=GROUP))
    if not found:
        raise ValueError("policy qmap runs a network in this process: install grasploop[server]")
    try:
        result: Qmaps = found[0].load()(models_dir)
        return result
    except Exception as error:  # its error classes belong to the server's package, which is not imported here
        raise ValueError(f"policy qmap: {error}") from error
