"""The policy of published work: grasp the goal where the best value of that is high enough, else make the best push."""

from dataclasses import dataclass

import numpy as np
import torch

from grasp_client.contract import Gripper
from planning.base import LoadedNetwork
from shared.maps.orthographic import place_of_cell
from shared.networks.push_grasp_qmap import ACTIONS, PushGraspQmap
from sim_worker.tasks.goal_episode import Decision, Look, Move
from sim_worker.tasks.map_actions import grasp_at, push_at
from sim_worker.world.camera.orthographic import orthographic_maps

MODEL = "push-grasp-qmap"
GRASP_FROM = 0.0
"""Value of a grasp from which on it is made where the card does not say it: a logit, of one half."""


@dataclass
class QmapPolicy:
    """Call it with each look."""

    network: LoadedNetwork
    gripper: Gripper

    def __call__(self, look: Look) -> Move:
        seen = orthographic_maps(look.view, look.mask)
        planes = [seen.colour.transpose(2, 0, 1) / np.float32(255), seen.height[None], seen.goal[None]]
        maps = torch.from_numpy(np.concatenate(planes).astype(np.float32))[None].to(self.network.device)
        module = self.network.module
        assert isinstance(module, PushGraspQmap)
        with torch.inference_mode():
            pushes, grasps = module(maps)[0].float().cpu().numpy()
        grasps = np.where(seen.goal, grasps, -np.inf)
        view = (self.network.card.model_extra or {}).get("view") or {}
        wanted = grasps if grasps.max() >= view.get("grasp_from", GRASP_FROM) else pushes
        turn, row, column = np.unravel_index(int(wanted.argmax()), wanted.shape)
        angle, place = 2 * np.pi * float(turn) / module.rotations, place_of_cell(int(row), int(column))
        value = float(1 / (1 + np.exp(-wanted.max())))
        told = Decision(quality=float(1 / (1 + np.exp(-grasps.max()))), action=ACTIONS[int(wanted is grasps)],
                        model=self.network.ref)  # fmt: skip
        if wanted is grasps:
            return Move("grasp", told, grasp=grasp_at(seen, place, angle, look.view, self.gripper), value=value)
        return Move("push", told, push=push_at(seen, place, angle), value=value)
