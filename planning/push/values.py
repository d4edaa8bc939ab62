"""What pushes are worth: the quality of the goal's best grasp after each by a network, or an order by geometry without one."""

import cv2
import numpy as np
import torch

from grasp_client.contract import Gripper
from planning.base import LoadedNetwork
from planning.calibration import calibrated
from planning.networks.device import to_device
from shared.features.push import RING, PushPaths, hand_extent, in_frame, push_crops, push_features, raised_cells
from shared.maps.heightmap import HeightMap

MODEL = "push-value"
"""Name in the registry of the network that tells the values of pushes, and of its architecture."""
CLOSER = 64
"""So many pushes, the best by numbers alone, are also looked at in crops of the map, which take ten times as long."""
GOAL_COST = 0.5
"""What a swept cell of the goal costs a push in the order by geometry, in cells of its neighbours."""


def predicted_qualities(
    map: HeightMap, goal: np.ndarray, paths: PushPaths, gripper: Gripper, quality: float, network: LoadedNetwork
) -> np.ndarray:
    """Quality (N,), 0 to 1, of the goal's best grasp after each of N pushes, at least one; `quality`: now. Where the network
    looks at crops, the best CLOSER are valued with them, and all others no better than these."""
    features = to_device(push_features(map, goal, paths, gripper, quality), network.device)
    with torch.inference_mode():
        logits = network.module(features).float()
        if getattr(network.module, "crop_width", 0):
            closer = logits.topk(min(CLOSER, len(logits))).indices
            crops = push_crops(map, goal, paths.pick(closer.cpu().numpy()), gripper)
            seen = network.module(features[closer], to_device(crops, network.device)).float()
            logits = logits.clamp(max=float(seen.min()))
            logits[closer] = seen
        return calibrated(logits, network.card.calibration).cpu().numpy()


def sweep_order(map: HeightMap, goal: np.ndarray, paths: PushPaths, gripper: Gripper) -> np.ndarray:
    """Scores (N,) of N pushes by geometry alone: how many cells of the goal's near neighbours each sweeps away, less what it
    sweeps of the goal. The order says which to try, not how likely it is to help."""
    distance = cv2.distanceTransform((~goal).astype(np.uint8), cv2.DIST_L2, 3) * map.resolution
    swept = []
    for cells in (raised_cells(map) & ~goal & (distance < RING), goal):
        row, column = np.nonzero(cells)
        along, across = in_frame(paths, map.corner[0] + map.resolution * column, map.corner[1] + map.resolution * row)
        half_along, half_across = (each[:, None] for each in hand_extent(gripper, paths.turned))
        met = (np.abs(across) < half_across) & (along > 0) & (along < paths.length[:, None] + half_along)
        swept.append(met.sum(1))
    scores: np.ndarray = swept[0] - GOAL_COST * swept[1]
    return scores
