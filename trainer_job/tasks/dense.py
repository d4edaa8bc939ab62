"""The jaw scorer in the hand's frame (shared.features.hand_frame)."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import nn

from grasp_client.contract import GraspMeta, Outcome
from shared.features import circumstances, hand_frame
from shared.features.hand_frame import CHANNELS, COLUMNS, FAR_SPAN, OCTAVES, ROWS, SPAN
from shared.learnable import MAX_JAW_TILT, lean
from shared.outcome_codec import depth_metres
from trainer_job.data.examples import Dataset, FeatureBatch, in_order
from trainer_job.data.feature_cache import FeatureSpec
from trainer_job.tasks.base import FeatureTask

HAND_FRAME = "hand-frame-6"
"""What features are called, another one whenever they mean something else."""
WHITE_NOISE = 0.001
"""Standard deviation of independent height noise per cell, m."""
SMOOTH_NOISE = 0.002
"""Standard deviation of height noise that neighbouring cells share, m."""
TIP_NOISE = 0.001
"""Standard deviation of the error of the tip's height, the same for a whole patch, m."""


BINS = ("bin", "leaning")
"""Kinds of scenes whose things lie in a bin."""


def told_of(outcomes: Sequence[Outcome[GraspMeta]]) -> np.ndarray:
    """The circumstances (N, C) of attempts on one image with intrinsics, by one camera and gripper."""
    meta = outcomes[0].meta
    pose = None if meta.camera_pose is None else np.asarray(meta.camera_pose, dtype=float)
    grasps = [outcome.meta.grasp for outcome in outcomes]
    assert meta.camera is not None
    in_bin = meta.scene is not None and meta.scene.kind in BINS
    leans = [lean(grasp.pose_base, grasp.pose_camera, meta.camera_pose) for grasp in grasps]
    return circumstances.circumstances(depth_metres(outcomes[0]), meta.camera, pose, meta.gripper, in_bin, leans)


class DenseTask(FeatureTask):
    """Patches of the height map round executed jaw grasps."""

    architectures = ("dense",)
    max_tilt = MAX_JAW_TILT

    @property
    def patches(self) -> Callable[..., np.ndarray]:
        """(depth, camera, camera_pose, grasps, gripper) -> (N, *spec.shape)."""
        return hand_frame.outcome_patches

    @cached_property
    def spec(self) -> FeatureSpec:
        return FeatureSpec(HAND_FRAME, (CHANNELS, ROWS, COLUMNS), aux=len(circumstances.NAMES))

    def features(self, outcomes: Sequence[Outcome[GraspMeta]]) -> tuple[np.ndarray, np.ndarray]:
        meta = outcomes[0].meta
        pose = None if meta.camera_pose is None else np.asarray(meta.camera_pose, dtype=float)
        grasps = [outcome.meta.grasp for outcome in outcomes]
        assert meta.camera is not None  # `refusal` says so
        return self.patches(depth_metres(outcomes[0]), meta.camera, pose, grasps, meta.gripper), told_of(outcomes)

    def circumstances(self, data: Dataset[FeatureBatch]) -> np.ndarray:
        """What each example's request told: the features' auxiliary numbers."""
        found = [batch.aux.numpy() for batch in in_order(data, self.evaluated_at_once)]
        return np.concatenate([np.zeros((0, self.spec.aux), np.float32), *found])

    def augment(self, batch: FeatureBatch, noise: torch.Generator | None) -> FeatureBatch:
        """Disturbs heights as a real camera does, and mirrors: a jaw and the physics know no left or right.

        features: (N, CHANNELS, ROWS, COLUMNS). The fingers' footprint is symmetric, so mirroring leaves it as it is.
        """
        if noise is None:
            return batch
        patches, count, device = batch.features, len(batch.features), batch.features.device
        coarse = torch.randn((count, 1, ROWS // 4, COLUMNS // 4), generator=noise, device=device)
        smooth = nn.functional.interpolate(coarse, size=(ROWS, COLUMNS), mode="bilinear", align_corners=False)
        amount = torch.rand((count, 1, 1, 1), generator=noise, device=device)  # from clean to noisy cameras
        white = torch.randn((count, 1, ROWS, COLUMNS), generator=noise, device=device)
        error = WHITE_NOISE * white + SMOOTH_NOISE * smooth
        tip = TIP_NOISE * torch.randn((count, 1, 1, 1), generator=noise, device=device)
        # Patches are in sizes of the hand, noise is in metres; a small hand's camera is nearer, and its noise smaller.
        larger = torch.exp2(OCTAVES * patches[:, 5:6, :1, :1]).clamp(min=1)
        near = (patches[:, :1] + (amount * error + tip) / (SPAN * larger)).clamp(-1, 1)
        far = (patches[:, 3:4] + tip / (FAR_SPAN * larger)).clamp(-1, 1)
        disturbed = torch.cat([near, patches[:, 1:3], far, patches[:, 4:]], dim=1)
        for axis in (2, 3):
            mirror = torch.rand((count, 1, 1, 1), generator=noise, device=device) < 0.5
            disturbed = torch.where(mirror, disturbed.flip(axis), disturbed)
        return FeatureBatch(disturbed, batch.aux, batch.labels)


TASK = DenseTask
