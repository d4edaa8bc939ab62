"""What the tests of the GQ-CNN planners share: networks of the family and scenes for them."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import torch
from published import published

from grasp_client.contract import CameraIntrinsics
from grasp_client.observation import Observation
from inference_server.models.warm import block_on_table
from planning.base import LoadedNetwork
from shared.networks import build_network
from shared.registry import ModelCard

torch.set_num_threads(1)
CPU = torch.device("cpu")
BLOCK_CAMERA = CameraIntrinsics(fx=300, fy=300, cx=159.5, cy=119.5)
VIEW = {"focal_px": 552.5, "near": 0.6, "far": 0.9}
_LAYERS = {
    "conv1": {"type": "conv", "filt_dim": 5, "num_filt": 8, "pool_size": 2, "pool_stride": 2, "pad": "VALID"},
    "fc2": {"type": "fc", "out_size": 16},
    "fc3": {"type": "fc", "out_size": 2},
}
SMALL = {"architecture": {"im_stream": _LAYERS}, "depth_mode": "im_depth_sub", "crop_size": 32}
"""Parameters of a `gqcnn4` that ranks in a fraction of the time."""


def loaded(architecture: str, parameters: dict[str, Any] | None = None, view: dict | None = VIEW, **card: Any) -> LoadedNetwork:
    """A freshly initialised network, as the server holds it."""
    torch.manual_seed(0)
    module = build_network(architecture, parameters or {}).eval()
    values = {"name": "under-test", "version": 1, "architecture": architecture, "parameters": parameters or {}, **card}
    return LoadedNetwork("under-test", 1, module, ModelCard.model_validate(values | ({"view": view} if view else {})), CPU)


def block() -> Observation:
    """A block 3 x 8 cm wide, its long side along v."""
    return block_on_table()


def phoxi(number: int) -> tuple[Observation, CameraIntrinsics]:
    """A real bin from a PhoXi scanner."""
    folder = published("real_depth/phoxi")
    depth = np.load(folder / f"clutter_depth_{number}.npy")[..., 0].astype(np.float32)
    mask = cv2.imread(str(folder / f"clutter_segmask_{number}.png"), cv2.IMREAD_GRAYSCALE) > 0
    k = json.loads((folder / "phoxi.intr").read_text())
    return Observation(depth=depth, segmask=mask), CameraIntrinsics(fx=k["_fx"], fy=k["_fy"], cx=k["_cx"], cy=k["_cy"])
