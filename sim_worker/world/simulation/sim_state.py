"""The physics client and what stands in it: one scene at a time, with one hand."""

from dataclasses import dataclass
from typing import Literal

from grasp_client.contract import Gripper
from sim_worker.world.grippers.arm import Arm
from sim_worker.world.grippers.cup import Cup
from sim_worker.world.grippers.jaw import Jaw
from sim_worker.world.simulation.collision_probe import ApproachSweep
from sim_worker.world.simulation.physics import Physics
from sim_worker.world.simulation.spec import SceneError

HandName = Literal["floating", "arm", "mesh"]
"""A jaw of boxes of the gripper's sizes on a floating base, the whole arm, or the Panda hand's meshes whatever the gripper."""
HandKey = tuple[Gripper, HandName]
Hand = Jaw | Cup | Arm


def hand_key(gripper: Gripper, name: HandName) -> HandKey:
    """Which simulated hand executes for this gripper. Raises SceneError for another hand than the floating one with a cup."""
    if name != "floating" and gripper.kind != "parallel_jaw":
        raise SceneError(
            f"hand {name!r} is a jaw: expected a gripper of kind parallel_jaw, got {gripper.kind}; use hand='floating'"
        )
    if name == "mesh":
        return Gripper(), name
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


@dataclass
class Simulation:
    """One physics client and what stands in it: `state`, which is the settled state of the scene `owner`, or of none (None)."""

    physics: Physics
    owner: object | None = None
    state: SimState | None = None
