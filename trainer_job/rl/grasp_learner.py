"""Learns where a teacher would grasp (Ross, Gordon and Bagnell 2011: it is asked wherever the policy gets to)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shared.networks.grasp_actor import GraspActor
from trainer_job.rl.demonstrations import Episode
from trainer_job.rl.learner import Learner
from trainer_job.rl.progress import Recipe
from trainer_job.rl.worlds import Observations, RemoteWorlds


class GraspLearner(Learner):
    """Of worlds whose advice tells grasps, not actions. There is no reward in it. It learns ever more slowly, till the last
    step."""

    def __init__(self, worlds: RemoteWorlds, recipe: Recipe, folder: Path, demonstrations: Sequence[Episode] = ()) -> None:
        if demonstrations:
            raise ValueError("a person's episodes tell actions, not grasps: leave out --demonstrations or --teacher")
        torch.manual_seed(recipe.seed)
        self.actor = GraspActor(worlds.observation_space["picture"].shape[0])  # type: ignore[index]
        # Convolutions of few channels take two thirds of the time so; in bfloat16, where there is such a thing, less than half.
        self.actor.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.short = torch.cpu._is_avx512_bf16_supported()
        super().__init__(worlds, recipe, folder)
        self.auxiliary = torch.optim.Adam(self.actor.parameters(), recipe.learning_rate, fused=True)

    def newest(self) -> GraspActor:
        actor = GraspActor(**self.actor.parameters_of_card)
        actor.load_state_dict(self.actor.state_dict())
        return actor.eval()

    @torch.no_grad()
    def _advised(self, observations: Observations) -> np.ndarray:
        actions: np.ndarray = self.actor.steer(torch.as_tensor(observations["advice"])).numpy()
        return actions

    @torch.no_grad()
    def _own(self, observations: Observations) -> np.ndarray:
        actions: np.ndarray = self.actor(torch.as_tensor(observations["picture"]))[:, :-3].numpy()
        return actions

    def _update(self) -> None:
        for group in self.auxiliary.param_groups:
            group["lr"] = self.recipe.learning_rate * (1 - self.progress.steps / self.recipe.steps)
        for _ in range(self.recipe.updates):
            batch = self.replay.sample(self.recipe.batch).observations
            loss = self.actor.loss(*_half_mirrored(batch["picture"], batch["advice"]), self.short)
            self.auxiliary.zero_grad()
            loss.backward()
            self.auxiliary.step()
        with torch.no_grad():
            for average, newest in zip(self.averaged.parameters(), self.actor.parameters(), strict=True):
                average.lerp_(newest, 1 - self.recipe.averaging)

    def _parts(self) -> dict[str, Any]:
        return {"actor": self.actor, "averaged": self.averaged, "auxiliary": self.auxiliary}


def _half_mirrored(pictures: Tensor, advice: Tensor) -> tuple[Tensor, Tensor]:
    """A batch (N, channels, H, W) and (N, 6) with every second picture as a mirror beside the hand would show it, where x and
    the angle are of the other sign: hand and camera look the same in it."""
    shown, told = pictures.clone(), advice.clone()
    shown[1::2] = pictures[1::2].flip(-1)
    told[1::2] = advice[1::2] * advice.new_tensor([-1, 1, 1, 1, -1, 1])
    return shown, told
