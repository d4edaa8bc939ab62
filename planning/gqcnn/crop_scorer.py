"""Hands of the map as image grasps and back, and their qualities by a network of the GQ-CNN family on camera-frame crops."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from planning.base import LoadedNetwork, PlanItem, PlannerError
from planning.batched_inference import InferenceSteps, NetworkCall, yield_between_layers
from planning.scene.projection import map_pixels
from planning.scene.scene import PlanningScene, observe_scene
from shared.features.crops import CropView, crop, fill_holes
from shared.grasp_poses import HandPose

BATCH = {"cpu": 32, "cuda": 1024}
"""Most crops in one question to the network, by the kind of device: larger batches leave the cache, and keep others waiting."""


@dataclass(frozen=True)
class ImageGrasps:
    """N grasps as the GQ-CNN family writes them: centers (N, 2) as (u, v) pixels, angles (N,) of the closing axis from +u
    towards +v, depth (N,) of the fingertips along the optical axis, m. Of a cup: angles of the approach's projection, depth of
    the contact, and lean (N,), the angle of the approach from the optical axis, rad."""

    centers: Tensor
    angles: Tensor
    depth: Tensor
    lean: Tensor | None = None

    def __len__(self) -> int:
        return len(self.depth)


def to_image(scene: PlanningScene, hands: HandPose) -> ImageGrasps:
    """Where the fingertips of hands are seen."""
    rotation, origin = _pose(scene, hands.width)
    points = hands.position @ rotation.T + origin
    half = (0.5 * hands.width)[:, None] * hands.rotation[:, :, 0]
    ends = map_pixels(scene, hands.position + half) - map_pixels(scene, hands.position - half)
    # Half a turn is the same jaw but not the same crop: the angle is the one that a reply carries, in (-pi/2, pi/2].
    angles = math.pi / 2 - (math.pi / 2 - torch.atan2(ends[:, 1], ends[:, 0])) % math.pi
    return ImageGrasps(map_pixels(scene, hands.position), angles, points[:, 2])


def to_map(scene: PlanningScene, grasps: ImageGrasps) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, y, angle and tip height (N,) in the map of image grasps."""
    rotation, origin = _pose(scene, grasps.depth)
    camera = scene.camera
    rays = torch.stack(
        [
            (grasps.centers[:, 0] - camera.cx) / camera.fx,
            (grasps.centers[:, 1] - camera.cy) / camera.fy,
            torch.ones_like(grasps.depth),
        ],
        1,
    )
    points = (rays * grasps.depth[:, None] - origin) @ rotation
    axis = torch.stack([torch.cos(grasps.angles) / camera.fx, torch.sin(grasps.angles) / camera.fy], 1) @ rotation[:2]
    return points[:, 0], points[:, 1], torch.atan2(axis[:, 1], axis[:, 0]), -points[:, 2]


def _pose(scene: PlanningScene, like: Tensor) -> tuple[Tensor, Tensor]:
    pose = torch.as_tensor(scene.map.pose, dtype=torch.float32, device=like.device)
    return pose[:3, :3], pose[:3, 3]


class CropScorer:
    """Scores image grasps on one depth image with a network on crops. Raises PlannerError 503 for a card without a view."""

    def __init__(self, scene: PlanningScene, network: LoadedNetwork):
        seen = (network.card.model_extra or {}).get("view")
        if not seen:
            message = f"the card of {network.name} version {network.version} does not say how its crops saw the world (`view`)"
            raise PlannerError(503, "broken_model", message)
        self.scene, self.view, self.focal = scene, CropView(**seen), scene.camera.fx
        self.loaded, self.network = network, network.module
        self.size: int = network.module.crop_size  # type: ignore[assignment]
        assert scene.observation.depth is not None  # `observe_scene` of the scene has checked it
        self.depth = torch.from_numpy(fill_holes(scene.observation.depth)).to(network.device)
        self.bins: int = getattr(network.module, "angular_bins", 0)

    def __call__(self, grasps: ImageGrasps) -> InferenceSteps[Tensor]:
        """Logits (N,) of success."""
        found = [torch.zeros(0, device=self.depth.device)]
        most = BATCH[self.depth.device.type]
        for part in (slice(first, first + most) for first in range(0, len(grasps), most)):
            lean = None if grasps.lean is None else grasps.lean[part]
            asked = ImageGrasps(grasps.centers[part], grasps.angles[part], grasps.depth[part], lean)
            found.append((yield from self._ask(asked)))
        return torch.cat(found)

    def _ask(self, grasps: ImageGrasps) -> InferenceSteps[Tensor]:
        """The same of a few."""
        brought = self.view.scale_and_shift(grasps.depth.cpu().numpy(), self.focal)
        scale, shift = (torch.as_tensor(values, dtype=torch.float32, device=self.depth.device) for values in brought)
        turn, output = grasps.angles, None
        if self.bins:  # an output per angle: the picture is turned only as far as to the nearest of them
            output = (((math.pi / 2 - turn) * self.bins / math.pi).floor() % self.bins).long()
            turn = turn - (math.pi / 2 - (output + 0.5) * math.pi / self.bins)
        crops = crop(self.depth, grasps.centers, turn, scale, (self.size, self.size))
        crops = crops + shift[:, None, None, None]
        pose = grasps.depth + shift
        if getattr(self.network, "takes_lean", False):
            assert grasps.lean is not None  # networks of suction are asked about cups
            pose = torch.stack([pose, grasps.lean], 1)
        inputs = (crops, pose) if self.network.takes_gripper_depth else (crops,)
        logits = yield NetworkCall(self.loaded, inputs, BATCH[self.depth.device.type])
        return logits if output is None else logits.gather(1, output[:, None])[:, 0]


def crop_views(item: PlanItem, network: LoadedNetwork) -> CropScorer:
    """What a planner on crops looks at: the scene of an observation, and the network on its crops."""
    observation, request = item
    yield_between_layers(network.module)
    return CropScorer(observe_scene(observation, request, network.device), network)
