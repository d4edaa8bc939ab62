"""GQ-CNN 4.0 and FC-GQ-CNN 4.0: one network, fully convolutional by construction.

Built from the field's `architecture.json` (streams `im_stream`, `pose_stream`, `merge_stream`). All convolutions are VALID
and fully connected layers are kept as convolutions, so a dense map equals the crop scores exactly. The published size has
a receptive field of 96 pixels and a stride of 4. Three ways to tell it the gripper depth:

- `pose_stream` (GQ-CNN 4.0): a small stream beside the image; the image stream is shared by all depth bins;
- `im_depth_sub` (FC-GQ-CNN 4.0): the depth is subtracted from the image;
- `im_only`: not at all.

With `angular_bins` the last layer holds a (failure, success) pair per angle; bin k closes along pi/2 - (k + 1/2) pi / bins.
"""

import math
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.networks.gqcnn import standard_pose

DepthMode = Literal["pose_stream", "im_depth_sub", "im_only"]
Layers = dict[str, dict[str, Any]]


def _conv(size: int, channels: int = 16, pool: int = 1) -> dict[str, Any]:
    return {"type": "conv", "filt_dim": size, "num_filt": channels, "pool_size": pool, "pool_stride": pool, "pad": "VALID"}


def published_architecture(outputs: int = 2, pose_stream: bool = True) -> dict[str, Layers]:
    """The 4.0 layout: 0.63 M parameters, receptive field 96, stride 4."""
    image: Layers = {
        "conv1_1": _conv(9),
        "conv1_2": _conv(5, pool=2),
        "conv2_1": _conv(5),
        "conv2_2": _conv(5, pool=2),
        "fc3": {"type": "fc", "out_size": 128},
    }
    head: Layers = {
        "fc4": {"type": "fc_merge" if pose_stream else "fc", "out_size": 128},
        "fc5": {"type": "fc", "out_size": outputs},
    }
    if not pose_stream:
        return {"im_stream": image | head}
    return {"im_stream": image, "pose_stream": {"pc1": {"type": "pc", "out_size": 16}}, "merge_stream": head}


class GQCNN4(nn.Module):
    """Depth crops (N, 1, 96, 96) and gripper depths (N,), metres -> logits (N,), or (N, A) with A angular bins.

    lean: for suction, mean and deviation of the approach's angle from the optical axis, rad; the pose stream then takes (N, 2),
    depth and angle.
    """

    def __init__(
        self,
        architecture: dict[str, Layers] | None = None,
        depth_mode: DepthMode = "pose_stream",
        angular_bins: int = 0,
        mean: float = 0.77280259,
        std: float = 0.06816614,
        depth_mean: float = 0.7556286,
        depth_std: float = 0.06893365,
        crop_size: int = 96,
        leak: float = 0.0,
        lean: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        architecture = architecture or published_architecture(2 * max(1, angular_bins), depth_mode == "pose_stream")
        self.depth_mode, self.angular_bins, self.crop_size, self.leak = depth_mode, angular_bins, crop_size, leak
        self.takes_gripper_depth, self.takes_lean, self.lean = depth_mode != "im_only", lean is not None, lean
        if lean is not None and depth_mode != "pose_stream":
            raise ValueError(f"lean: only the pose stream takes the approach's angle, got depth_mode {depth_mode!r}")
        self.mean, self.std, self.depth_mean, self.depth_std = mean, std, depth_mean, depth_std
        self.im_stream, self.pools, channels, side = _image_stream(architecture["im_stream"], crop_size)
        self.stride = math.prod(self.pools.values())
        self.pose_stream, pose_channels = _pose_stream(architecture.get("pose_stream", {}), 2 if lean else 1)
        if (depth_mode == "pose_stream") != bool(self.pose_stream):
            raise ValueError(
                f"depth_mode {depth_mode!r} does not fit an architecture with pose layers {list(self.pose_stream)}"
            )
        self.merge_stream = nn.ModuleDict()
        for index, (name, layer) in enumerate(architecture.get("merge_stream", {}).items()):
            self.merge_stream[name] = nn.Conv2d(channels + (pose_channels if index == 0 else 0), layer["out_size"], side)
            channels, side = layer["out_size"], 1
        if channels != 2 * max(1, angular_bins):
            raise ValueError(f"expected {2 * max(1, angular_bins)} outputs for {angular_bins} angular bins, got {channels}")

    def features(self, depth: Tensor, gripper_depth: Tensor | None = None, wanted: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) metres -> the image stream's map (N, C, h, w); independent of the gripper depth in `pose_stream`.

        wanted: (h, w) bool, of one image: its W true elements alone, (W, C, 1, 1).
        """
        if self.depth_mode == "im_depth_sub":
            depth = depth - self._required(gripper_depth)[:, None, None, None]
        x = (depth - self.mean) / self.std
        last = None if self.merge_stream else list(self.im_stream)[-1]
        for name, layer in self.im_stream.items():
            if wanted is not None and name not in self.pools:
                x, wanted = _windows(x, wanted, cast(nn.Conv2d, layer).kernel_size[0]), None
            x = layer(x)
            # Pooled first: the same values, for what rises stays greatest, and less to activate.
            x = F.max_pool2d(x, self.pools[name]) if self.pools.get(name, 1) > 1 else x
            x = x if name == last else F.leaky_relu(x, self.leak)
        return x

    def merge(self, x: Tensor, gripper_depth: Tensor | None = None) -> Tensor:
        """Image features (N, C, h, w) or (1, C, h, w) and gripper depths (N,) -> logits (N, A, h, w), A = max(1, bins)."""
        for index, layer in enumerate(self.merge_stream.values(), start=1):
            # What the pose adds is the same everywhere: the image's share is computed once for all depths.
            x = self._with_pose(layer, x, gripper_depth) if index == 1 and self.pose_stream else layer(x)
            x = F.leaky_relu(x, self.leak) if index < len(self.merge_stream) else x
        return x[:, 1::2] - x[:, 0::2]  # the logit of a softmax over (failure, success)

    def _with_pose(self, layer: nn.Module, x: Tensor, gripper_depth: Tensor | None) -> Tensor:
        """The first merging layer on image features beside the pose stream's output."""
        pose = standard_pose(self._required(gripper_depth), self.depth_mean, self.depth_std, self.lean)
        for linear in self.pose_stream.values():
            pose = F.leaky_relu(linear(pose), self.leak)
        weight, bias = cast(Tensor, layer.weight), cast(Tensor, layer.bias)
        channels = x.shape[1]
        added = F.linear(pose, weight[:, channels:].sum((2, 3)), bias)
        return F.conv2d(x, weight[:, :channels]) + added[:, :, None, None]

    def sparse(self, depth: Tensor, gripper_depth: Tensor, wanted: Tensor) -> Tensor:
        """Of `dense` for one image (1, 1, H, W) the W elements that are wanted (h, w), (W, A).

        The first fully connected layer takes most of the time of a dense map, and only it is spared elsewhere.
        """
        return self.merge(self.features(depth, gripper_depth, wanted), gripper_depth)[:, :, 0, 0]

    def dense(self, depth: Tensor, gripper_depth: Tensor | None = None) -> Tensor:
        """Images (N, 1, H, W) -> logits (N, A, h, w); output (i, j) scores the crop at pixel (stride i, stride j)."""
        if min(depth.shape[2:]) < self.crop_size:
            raise ValueError(f"expected at least {self.crop_size}x{self.crop_size} pixels, got {tuple(depth.shape[2:])}")
        return self.merge(self.features(depth, gripper_depth), gripper_depth)

    def forward(self, depth: Tensor, gripper_depth: Tensor | None = None) -> Tensor:
        if tuple(depth.shape[1:]) != (1, self.crop_size, self.crop_size):
            raise ValueError(f"expected crops (N, 1, {self.crop_size}, {self.crop_size}), got {tuple(depth.shape)}")
        logits = self.dense(depth, gripper_depth)[:, :, 0, 0]
        return logits if self.angular_bins else logits[:, 0]

    def _required(self, gripper_depth: Tensor | None) -> Tensor:
        if gripper_depth is None:
            raise ValueError(f"depth_mode {self.depth_mode!r} needs gripper_depth (N,) in metres, got none")
        return gripper_depth

    def golden_batch(self) -> tuple[Tensor, ...]:
        """Fixed input for checks of loaded weights."""
        noise = torch.randn(2, 1, self.crop_size, self.crop_size, generator=torch.Generator().manual_seed(0))
        near = self.depth_mean if self.depth_mode == "im_depth_sub" else 0.0
        depth = near + self.mean + self.std * noise
        pose = torch.full((2, 2) if self.takes_lean else (2,), self.depth_mean)
        return (depth, pose) if self.takes_gripper_depth else (depth,)


def _windows(x: Tensor, wanted: Tensor, side: int) -> Tensor:
    """Windows (W, C, side, side) of a map (1, C, H, W) whose first pixel is wanted (H - side + 1, W - side + 1)."""
    row, column = torch.nonzero(wanted, as_tuple=True)
    windows = x[0].unfold(1, side, 1).unfold(2, side, 1).permute(1, 2, 0, 3, 4)
    return windows[row, column]


def _image_stream(layers: Layers, size: int) -> tuple[nn.ModuleDict, dict[str, int], int, int]:
    """Modules, pooling per layer, and the channels and side of the last map over one crop of `size` pixels."""
    modules, pools, channels = nn.ModuleDict(), {}, 1
    for name, layer in layers.items():
        if layer["type"] == "conv":
            if layer.get("pad", "SAME") != "VALID" or layer.get("norm", 0):
                raise ValueError(f"{name}: only VALID convolutions without normalisation are supported, got {layer}")
            if layer["pool_size"] != layer["pool_stride"]:
                raise ValueError(f"{name}: expected pool_size == pool_stride, got {layer['pool_size']}, {layer['pool_stride']}")
            modules[name] = nn.Conv2d(channels, layer["num_filt"], layer["filt_dim"])
            pools[name], channels = layer["pool_size"], layer["num_filt"]
            size = (size - layer["filt_dim"] + 1) // pools[name]
        elif layer["type"] == "fc":
            modules[name] = nn.Conv2d(channels, layer["out_size"], size)
            channels, size = layer["out_size"], 1
        else:
            raise ValueError(f"{name}: unknown layer type {layer['type']!r}; expected conv or fc")
    return modules, pools, channels, size


def _pose_stream(layers: Layers, channels: int) -> tuple[nn.ModuleDict, int]:
    modules = nn.ModuleDict()
    for name, layer in layers.items():
        if layer["out_size"]:  # the published file lists an empty second layer
            modules[name] = nn.Linear(channels, layer["out_size"])
            channels = layer["out_size"]
    return modules, channels


NETWORK = GQCNN4
