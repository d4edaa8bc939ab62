"""Which of a plan's grasps to execute: mostly the best, sometimes another, and with what probability."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from grasp_client.contract import Grasp, Gripper
from sim_worker.sampling.samplers import random_on_object, random_probability
from sim_worker.sampling.surface import Surface

STRATEGIES = ("by_quality", "by_uncertainty", "on_objects")


@dataclass(frozen=True)
class Choice:
    """The grasp to execute. rank: its place in the plan, None when it was not planned. strategy: `best` or a STRATEGY."""

    grasp: Grasp
    rank: int | None
    probability: float
    strategy: str

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
) -> Choice | None:
    """One grasp: the best left with probability 1 - share, else by a STRATEGY at random; None when nothing is left.

    grasps: best first. surface: what the depth image shows; without one nothing is drawn on objects. tried: places in the plan
    that are not to be chosen again. The probability that comes back is that of this grasp under the whole rule, so that a
    learner can weigh it.
    """
    left = [rank for rank in range(len(grasps)) if rank not in tried]
    if not left:
        return None
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


def _weights(quality: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities in proportion to quality and to its variance as a coin's, each (N,) with sum 1 and none at zero."""
    by_quality = quality + 1e-3
    by_uncertainty = quality * (1 - quality) + 1e-3
    return by_quality / by_quality.sum(), by_uncertainty / by_uncertainty.sum()
