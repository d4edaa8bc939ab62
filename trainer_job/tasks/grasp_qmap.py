"""Values of grasps at every cell of a map, from executed grasps: the goal of each is the thing at which it was made."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from grasp_client.contract import GraspMeta, Outcome
from shared.maps.orthographic import CELL, HALF, cell_of_place
from shared.maps.things import find_things
from shared.networks.push_grasp_qmap import Action
from trainer_job.data.pictures import PictureBatch
from trainer_job.tasks.base import TrainingTask
from trainer_job.tasks.push_grasp_qmap import PushGraspQmapTask, planes
from trainer_job.training.augmentation import Labels


class GraspQmapTask(PushGraspQmapTask):
    """As pushes are learned; a closing axis turned by half a turn is the same one."""

    outcome_kind = GraspMeta.kind
    action: ClassVar[Action] = "grasp"

    def refusal(self, meta: Mapping[str, Any]) -> str | None:
        if meta["camera"] is None or meta["camera_pose"] is None or meta["grasp"]["pose_camera"] is None:
            return "no_metric_pose"
        place = _in_base(meta["camera_pose"], meta["grasp"]["pose_camera"])[:2, 3]
        return TrainingTask.refusal(self, meta) or (None if np.abs(place).max() < HALF - CELL else "outside_map")

    def features(self, outcomes: Sequence[Outcome[Any]]) -> tuple[np.ndarray, np.ndarray]:
        maps = self.seen(outcomes[0], np.zeros(outcomes[0].images["depth"].shape, bool))
        corner = (CELL / 2 - HALF, CELL / 2 - HALF)
        number = find_things(maps.height, maps.height > 0, corner, CELL).number.numpy()
        found, aux = [], []
        for outcome in outcomes:
            pose = _in_base(outcome.meta.camera_pose, outcome.meta.grasp.pose_camera)
            row, column = cell_of_place(pose[:2, 3])
            goal = (number == number[row, column]) & (number > 0)
            found.append(planes(type(maps)(maps.colour, maps.height, goal)))
            # Beside every thing there is no goal: not to be learned from.
            aux.append([row, column, self.turn_of(math.atan2(pose[1, 0], pose[0, 0]))] if goal.any() else [np.nan] * 3)
        return np.stack(found), np.array(aux, np.float32)

    def augment(self, batch: PictureBatch, noise: torch.Generator | None) -> PictureBatch:
        batch = super().augment(batch, noise)
        if noise is None:
            return batch
        labels, half = batch.labels, self.outline.rotations // 2
        turned = torch.rand(len(labels.map), generator=noise, device=labels.map.device) < 0.5
        turn = torch.where(turned, (labels.map + half) % self.outline.rotations, labels.map)
        return PictureBatch(batch.images, Labels(labels.picture, labels.place, turn, labels.success, labels.size))


def _in_base(camera_pose: Any, pose: Any) -> np.ndarray:
    """(4, 4) in the base frame, of one in the camera's."""
    result: np.ndarray = np.asarray(camera_pose, dtype=float) @ np.asarray(pose, dtype=float)
    return result


TASK = GraspQmapTask
