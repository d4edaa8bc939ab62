"""What a network of the loop sees of an outcome, which outcomes it learns from, and how its input is disturbed in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from grasp_client.contract import GraspMeta, Outcome
from shared.networks import build_network
from shared.networks.hand_frame import CHANNELS, COLUMNS, FAR_SPAN, ROWS, SPAN, outcome_patches
from shared.registry import ModelCard

Self = TypeVar("Self", bound="Learner")

WHITE_NOISE = 0.001
"""Standard deviation of independent height noise per cell, m."""
SMOOTH_NOISE = 0.002
"""Standard deviation of height noise that neighbouring cells share, m."""
TIP_NOISE = 0.001
"""Standard deviation of the error of the tip's height, the same for a whole view, m."""


@dataclass(frozen=True)
class Learner:
    """The jaw scorer in the hand's frame. `name` is that of its model in the registry, `planner` of who serves it, `view` of
    how the network sees the world (kept in its card), `view_name` of the cache; `image` names what is looked at.

    What the network sees of an outcome is an array of `view_shape`, and `facts` numbers beside it.
    """

    name: str = "dense"
    planner: str = "dense"
    architecture: str = "dense"
    parameters: dict[str, Any] = field(default_factory=dict)
    kind: str = "parallel_jaw"
    view: dict[str, float] = field(default_factory=dict)
    view_name: str = "hand-frame-2"
    view_shape: tuple[int, ...] = (CHANNELS, ROWS, COLUMNS)
    view_dtype: str = "float16"
    facts: int = 0
    image: str = "depth"
    outcome_kind: ClassVar[str] = GraspMeta.kind

    patches = staticmethod(outcome_patches)
    """(depth, camera, camera_pose, grasps, gripper) -> (N, *view_shape): what the network sees of grasps on one image."""

    def of(self: Self, card: ModelCard) -> Self:
        """This learner for the network of a version: its parameters, and where they matter to it, another view.

        Raises ValueError for a network that it cannot train.
        """
        if card.architecture not in self.trainable:
            raise ValueError(
                f"{card.name} version {card.version} is a network {card.architecture!r}: expected {' or '.join(self.trainable)}"
            )
        return replace(self, architecture=card.architecture, parameters=card.parameters)

    @property
    def trainable(self) -> tuple[str, ...]:
        """Architectures that this learner can train."""
        return (self.architecture,)

    def build(self) -> nn.Module:
        return build_network(self.architecture, self.parameters)

    def learnable(self, meta: Mapping[str, Any]) -> bool:
        """Whether an outcome's meta (plain JSON) tells what a grasp of this kind on a depth image led to, by the strict rule.

        An unreachable pose says nothing about the grasp: the hand never got there.
        """
        grasp = meta["grasp"]
        return (
            grasp["kind"] == self.kind
            and self.image in meta["images"]
            and meta["camera"] is not None
            and grasp["pose_camera"] is not None
            and (grasp["width"] is not None or self.kind == "suction")
            and meta["contact_rule"] == "strict"
            and meta["failure"] != "unreachable"
        )

    def views(self, outcomes: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray]:
        """(N, *view_shape) and (N, facts) of attempts on one image, by one camera and gripper.

        Raises ValueError when the image cannot be used.
        """
        meta = outcomes[0].meta
        if meta.camera is None:
            raise ValueError("expected outcomes with a camera")
        pose = None if meta.camera_pose is None else np.asarray(meta.camera_pose, dtype=float)
        grasps = [outcome.meta.grasp for outcome in outcomes]
        patches = self.patches(depth_metres(outcomes[0]), meta.camera, pose, grasps, meta.gripper)
        return patches, np.zeros((len(grasps), 0), np.float32)

    def logits(self, network: nn.Module, views: Tensor, facts: Tensor) -> Tensor:
        """(N,) logits of success; views (N, *view_shape) and facts (N, F) float32 on the network's device."""
        return network(views)

    def augment(self, views: Tensor, facts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Disturbs heights as a real camera does, and mirrors: a jaw and the physics know no left or right.

        views: (N, CHANNELS, ROWS, COLUMNS). The fingers' footprint is symmetric, so mirroring leaves it as it is.
        """
        count, device = len(views), views.device
        size = (count, 1, ROWS, COLUMNS)
        coarse = torch.randn((count, 1, ROWS // 4, COLUMNS // 4), generator=generator, device=device)
        smooth = nn.functional.interpolate(coarse, size=(ROWS, COLUMNS), mode="bilinear", align_corners=False)
        amount = torch.rand((count, 1, 1, 1), generator=generator, device=device)  # from clean to noisy cameras
        noise = WHITE_NOISE * torch.randn(size, generator=generator, device=device) + SMOOTH_NOISE * smooth
        tip = TIP_NOISE * torch.randn((count, 1, 1, 1), generator=generator, device=device)
        near = (views[:, :1] + (amount * noise + tip) / SPAN).clamp(-1, 1)
        far = (views[:, 3:4] + tip / FAR_SPAN).clamp(-1, 1)
        disturbed = torch.cat([near, views[:, 1:3], far, views[:, 4:]], dim=1)
        for axis in (2, 3):
            mirror = torch.rand((count, 1, 1, 1), generator=generator, device=device) < 0.5
            disturbed = torch.where(mirror, disturbed.flip(axis), disturbed)
        return disturbed, facts


def depth_metres(outcome: Outcome) -> np.ndarray:
    """(H, W) float32 metres, 0 where there is no reading."""
    depth = outcome.images["depth"].astype(np.float32) * np.float32(outcome.meta.images["depth"].scale)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))
