"""Grasp quality by the GQ-CNN family: of depth crops as their datasets hold them, or of grasps on a depth image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from grasp_client.contract import ApiModel, CameraIntrinsics, ModelRef, Pixel, PlanRequest
from grasp_client.imaging import ImageError, read_npy
from grasp_client.observation import Observation
from inference_server.errors import ServerError
from planning.base import LoadedNetwork
from planning.batched_inference import between_passes, run_batched
from planning.calibration import calibrated
from planning.gqcnn.crop_scorer import CropScorer, ImageGrasps
from planning.networks.device import to_device
from planning.scene.scene import observe_scene

MOST_CROPS = 4096
BATCH = 256
"""Crops in one forward pass."""
CROP_SECONDS = 5e-4
"""Of one core for a crop."""
SCENE_SECONDS = 0.01
"""To look at an image."""


class ImageGrasp(ApiModel):
    """A grasp on the image: its centre, the angle of the closing axis from +u towards +v, and the fingertips' depth."""

    center_px: Pixel
    angle: float = Field(ge=-10, le=10, description="rad")
    depth: float = Field(gt=0, le=100, description="of the fingertips or the cup along the optical axis, m")
    lean: float = Field(0.0, ge=0, le=math.pi / 2, description="of a cup: angle of the approach from the optical axis, rad")


class QualityRequest(ApiModel):
    """Options of `POST /gqcnn`."""

    camera: CameraIntrinsics | None = Field(None, description="of the image; none: a common depth camera is assumed")
    depth_scale: float = Field(0.001, gt=0, le=1, description="metres per unit of an integer depth image")
    grasps: Annotated[list[ImageGrasp], Field(max_length=1000)] | None = Field(None, description="with an image: what to score")
    model: str = Field("gqcnn-jaw", max_length=64, description="a model of the registry that scores crops")
    model_version: int | None = Field(None, ge=1, description="registry version; default: the champion")


class QualityReply(ApiModel):
    """Probabilities of success, in the order that the crops or grasps were sent."""

    quality: list[float]
    model: ModelRef
    timings_ms: dict[str, float] = Field(default_factory=dict)


@dataclass(frozen=True)
class Crops:
    """crops (N, 1, S, S) and gripper depths (N,) or None, float32 metres; depths (N, 2) come with the lean of a cup, rad."""

    crops: np.ndarray
    gripper_depth: np.ndarray | None

    @property
    def forecast(self) -> float:
        """Seconds that scoring them should take."""
        return CROP_SECONDS * len(self.crops)


@dataclass(frozen=True)
class OnImage:
    """Grasps on one depth image."""

    observation: Observation
    grasps: Sequence[ImageGrasp]
    camera: CameraIntrinsics | None

    @property
    def forecast(self) -> float:
        """Seconds that scoring them should take."""
        return SCENE_SECONDS + CROP_SECONDS * len(self.grasps)


def read_floats(data: bytes, name: str) -> np.ndarray:
    """A float32 or float64 npy array of any shape. Raises ServerError 400 or 422; nothing is unpickled."""
    try:
        array = read_npy(data)
    except ImageError as error:
        code = "undecodable_array" if error.status == 400 else error.code
        raise ServerError(error.status, code, f"{name}: {error.message}") from None
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        raise ServerError(422, "wrong_dtype", f"{name}: expected float32 metres, got {array.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        floats = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(floats).all():
        raise ServerError(422, "wrong_dtype", f"{name}: expected finite numbers, got NaN or infinity")
    return floats


def crops_of(crops: np.ndarray, gripper_depth: np.ndarray | None) -> Crops:
    """Crops (N, S, S[, 1]) as networks take them. Raises ServerError 413 or 422."""
    if crops.ndim == 4 and crops.shape[3] == 1:
        crops = crops[..., 0]
    if crops.ndim != 3 or crops.shape[1] != crops.shape[2] or not len(crops):
        raise ServerError(422, "wrong_shape", f"crops: expected (N, S, S) or (N, S, S, 1) with N >= 1, got {crops.shape}")
    if len(crops) > MOST_CROPS:
        raise ServerError(413, "too_many_crops", f"at most {MOST_CROPS} crops are scored at once, got {len(crops)}")
    if gripper_depth is not None:
        if gripper_depth.size == len(crops):
            gripper_depth = gripper_depth.reshape(-1)
        elif gripper_depth.shape != (len(crops), 2):
            message = f"gripper_depth: expected {len(crops)} depths, with the lean of a cup ({len(crops)}, 2)"
            raise ServerError(422, "wrong_shape", f"{message}, got shape {gripper_depth.shape}")
    return Crops(crops[:, None], gripper_depth)


def score_crops(item: Crops, network: LoadedNetwork) -> np.ndarray:
    """(N,) probabilities. Raises ServerError 422 for crops that do not fit the network."""
    size, takes_depth = _crop_size(network), network.module.takes_gripper_depth
    if item.crops.shape[2] != size:
        got = item.crops.shape[2]
        raise ServerError(422, "wrong_shape", f"{network.name} scores crops of {size} x {size} pixels, got {got} x {got}")
    if takes_depth and item.gripper_depth is None:
        raise ServerError(422, "missing_gripper_depth", f"{network.name} needs gripper_depth (N) beside the crops")
    leans = getattr(network.module, "takes_lean", False)
    if item.gripper_depth is not None and takes_depth and leans != (item.gripper_depth.ndim == 2):
        message = f"{network.name} takes gripper_depth as {'(N, 2), depth and lean of the cup' if leans else '(N)'}"
        raise ServerError(422, "wrong_shape", f"{message}, got {item.gripper_depth.shape}")
    logits = []
    for start in range(0, len(item.crops), BATCH):
        between_passes.get()()
        part = slice(start, start + BATCH)
        inputs = [to_device(item.crops[part], network.device)]
        if takes_depth and item.gripper_depth is not None:
            inputs.append(to_device(item.gripper_depth[part], network.device))
        output = network.module(*inputs).float()
        # A network with an output per angle: the closing axis lies along the crop's middle row, which is the middle output.
        logits.append(output if output.ndim == 1 else output[:, output.shape[1] // 2])
    return calibrated(torch.cat(logits), network.card.calibration).cpu().numpy()


def score_on_image(item: OnImage, network: LoadedNetwork) -> np.ndarray:
    """(N,) probabilities of grasps on an image. Raises ServerError 422 for a network that does not score crops."""
    _crop_size(network)
    scorer = CropScorer(observe_scene(item.observation, PlanRequest(camera=item.camera), network.device), network)
    columns = (
        torch.tensor(values, dtype=torch.float32, device=network.device)
        for values in zip(*((grasp.center_px, grasp.angle, grasp.depth, grasp.lean) for grasp in item.grasps), strict=True)
    )
    [(logits, _)] = run_batched([scorer(ImageGrasps(*columns))])
    return calibrated(logits, network.card.calibration).cpu().numpy()


def _crop_size(network: LoadedNetwork) -> int:
    size = getattr(network.module, "crop_size", None)
    if not isinstance(size, int):
        raise ServerError(422, "no_crops", f"model {network.name!r} ({network.card.architecture}) does not score crops")
    return size
