"""One plan of a made-up scene, so that the first request finds everything imported, allocated and compiled."""

import logging

import numpy as np
import torch

from grasp_client.contract import CameraIntrinsics, Gripper, PlanRequest
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, Planner

logger = logging.getLogger(__name__)

_HEIGHT, _WIDTH, _FOCAL = 240, 320, 300.0
_TABLE, _TOP = 0.70, 0.65


def block_on_table() -> Observation:
    """A block 4 cm high and about 3 x 8 cm wide in the middle of a table, from above; a grey colour picture of the same."""
    depth = np.full((_HEIGHT, _WIDTH), _TABLE, np.float32)
    depth[_HEIGHT // 2 - 18 : _HEIGHT // 2 + 18, _WIDTH // 2 - 7 : _WIDTH // 2 + 7] = _TOP
    rgb = np.full((_HEIGHT, _WIDTH, 3), 120, np.uint8)
    rgb[depth == np.float32(_TOP)] = 200
    return Observation(depth=depth, rgb=rgb)


def warm_up(planner: Planner, network: LoadedNetwork | None) -> None:
    """Run in the inference thread. A planner whose network is not there yet is left for later: its weights warm themselves."""
    if planner.model_name is not None and network is None:
        return
    kind = "parallel_jaw" if "parallel_jaw" in planner.grippers else "suction"
    camera = CameraIntrinsics(fx=_FOCAL, fy=_FOCAL, cx=(_WIDTH - 1) / 2, cy=(_HEIGHT - 1) / 2)
    request = PlanRequest(camera=camera, gripper=Gripper(kind=kind), planner=planner.name, table_depth=_TABLE, seed=0)
    try:
        with torch.inference_mode():
            planner.plan_batch([(block_on_table(), request)], network)
    except Exception:  # it may yet answer other requests: say so, and serve
        logger.exception("planner %s failed to warm up", planner.name)
