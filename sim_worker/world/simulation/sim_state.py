"""The physics client and what stands in it: one scene at a time, with one hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grasp_client.contract import Gripper
from sim_worker.world.errors import SceneError
from sim_worker.world.grippers.arm import Arm
from sim_worker.world.grippers.cup import Cup
from sim_worker.world.grippers.jaw import Jaw
from sim_worker.world.simulation.collision_probe import ApproachSweep
from sim_worker.world.simulation.physics import Physics

HandName = Literal["floating", "arm"]
HandKey = tuple[Gripper, HandName]
Hand = Jaw | Cup | Arm


def hand_key(gripper: Gripper, name: HandName) -> HandKey:
    """Which simulated hand executes for this gripper. Raises SceneError for an arm with a suction cup."""
    if name == "arm" and gripper.kind != "parallel_jaw":
        raise SceneError(
            f"the arm carries jaws: expected a gripper of kind parallel_jaw, got {gripper.kind}; use hand='floating'"
        )
    # The tool frame is the caller's affair: hands that differ in nothing else are the same hand.
    return gripper.model_copy(update={"tcp_offset": 0.0}), name


@dataclass
class SimState:
    """A scene as it stands in the simulation, ready to be returned to.

    bodies, fixed: names by body id, of what can be grasped and of what never moves. skins: collision margin of each body, m.
    moved: something has acted since the settled state was set up.
    """

    wanted: HandKey
    hand: Hand
    bodies: dict[int, str]
    fixed: dict[int, str]
    skins: dict[int, float]
    sweep: ApproachSweep
    moved: bool = True


class Simulation:
    """One physics client and whose scene stands in it now."""

    def __init__(self, physics: Physics) -> None:
        self.physics = physics
        self._owner: object | None = None
        self._state: SimState | None = None

    def state_of(self, scene: object) -> SimState | None:
        """The scene as it stands in the simulation; None if another one does."""
        return self._state if self._owner is scene else None

    def occupy(self, scene: object, state: SimState) -> None:
        """From now on `state`, which is the scene's, stands in the simulation."""
        self._owner, self._state = scene, state

    def invalidate(self) -> None:
        """What stands in the simulation is no scene's settled state any more."""
        self._owner = self._state = None
