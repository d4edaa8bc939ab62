"""Which of a plan's grasps to execute: mostly the best, sometimes another, and with what probability."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from grasp_client.contract import Grasp, Gripper
from grasp_client.geometry import pose_from
from sim_worker.grasp_poses import jaw_grasp, pose_in_base
from sim_worker.sampling.samplers import random_on_object, random_probability
from sim_worker.sampling.surface import Surface

STRATEGIES = ("by_quality", "by_uncertainty", "on_objects")
OFFSET = "offset"
"""Strategy for a planner that corrects others: the best grasp, offset at random in its own frame."""
MOST_SHIFT = 0.02
"""m of an offset along each axis of the grasp frame."""
MOST_TURN = 0.26
"""rad of an offset about the approach."""


@dataclass(frozen=True)
class Choice:
    """The grasp to execute. rank: its place in the plan, None when it was not planned. strategy: `best`, a STRATEGY or OFFSET.

    offset: of the best grasp, in MOST_SHIFT and MOST_TURN.
    """

    grasp: Grasp
    rank: int | None
    probability: float
    strategy: str
    offset: tuple[float, ...] = ()

    @property
    def exploration(self) -> bool:
        return self.strategy != "best"


def choose(
    grasps: Sequence[Grasp],
    share: float,
    surface: Surface | None,
    gripper: Gripper,
    rng: np.random.Generator,
    tried: Collection[int] = (),
    by_offset: bool = False,
) -> Choice | None:
    """One grasp: the best left with probability 1 - share, else by a STRATEGY at random; None when nothing is left.

    grasps: best first. surface: what the depth image shows; without one nothing is drawn on objects. tried: places in the plan
    that are not to be chosen again. The probability that comes back is that of this grasp under the whole rule, so that a
    learner can weigh it; of an offset its density per unit of MOST_SHIFT and MOST_TURN. by_offset: explore by OFFSET only.
    """
    left = [rank for rank in range(len(grasps)) if rank not in tried]
    if not left:
        return None
    if by_offset and surface:
        if rng.random() >= share:
            return Choice(grasps[left[0]], left[0], 1 - share, "best")
        moved = rng.uniform(-1, 1, 4)
        grasp = displaced(grasps[left[0]], moved, surface, gripper)
        return Choice(grasp, None, share / 2**4, OFFSET, tuple(moved.tolist()))
    strategies = STRATEGIES if surface else STRATEGIES[:2]
    strategy = str(rng.choice(strategies)) if rng.random() < share else "best"
    if strategy == "on_objects" and surface:
        drawn = random_on_object(surface, gripper, 1, rng)
        if drawn:
            probability = share / len(strategies) * random_probability(surface)
            return Choice(drawn[0], None, probability, strategy)
        strategy = "by_quality"
    by_quality, by_uncertainty = _weights(np.array([grasps[rank].quality for rank in left]))
    weights = {"best": np.eye(len(left))[0], "by_quality": by_quality, "by_uncertainty": by_uncertainty}[strategy]
    place = int(rng.choice(len(left), p=weights))
    probability = (1 - share) * (place == 0) + share / len(strategies) * (by_quality[place] + by_uncertainty[place])
    return Choice(grasps[left[place]], left[place], float(probability), strategy)


def displaced(grasp: Grasp, offset: np.ndarray, surface: Surface, gripper: Gripper) -> Grasp:
    """A jaw grasp moved by an offset (4,), -1 to 1, along x, y, z of its frame and about its approach."""
    back = pose_from(np.eye(3), np.array([0.0, 0.0, gripper.tcp_offset]))
    turn = Rotation.from_rotvec([0.0, 0.0, MOST_TURN * offset[3]]).as_matrix()
    tip = pose_in_base(grasp, surface.camera_pose) @ back @ pose_from(turn, MOST_SHIFT * offset[:3])
    width = grasp.width or gripper.max_width
    return jaw_grasp(tip, width, grasp.quality, surface.camera, surface.camera_pose, gripper.tcp_offset)


def _weights(quality: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities in proportion to quality and to its variance as a coin's, each (N,) with sum 1 and none at zero."""
    by_quality = quality + 1e-3
    by_uncertainty = quality * (1 - quality) + 1e-3
    return by_quality / by_quality.sum(), by_uncertainty / by_uncertainty.sum()
