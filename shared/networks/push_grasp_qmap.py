"""Values of pushes and grasps at every cell of a map, for one wanted thing, as goal-conditioned Q-maps have them.

Xu et al., Efficient Learning of Goal-Oriented Push-Grasping Synergy in Clutter, RA-L 2021: colour, height and the goal's mask
from straight above go, turned so that the action runs along the columns, through a trunk each (DenseNet, Huang et al. 2017);
push and grasp have trunks and a head of their own, the goal's trunk is shared. Parameters have the published names.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Action = Literal["push", "grasp"]
ACTIONS: tuple[Action, Action] = ("push", "grasp")
PLANES = 5
"""Of a map: red, green, blue, 0 to 1; height over the table, m; 1 on the goal."""
COLOUR_MEAN, COLOUR_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEIGHT_MEAN, HEIGHT_STD = 0.01, 0.03
STRIDE = 32
"""Cells of a trunk's input for one of its output."""
BOTTLENECK = 4
"""Channels before a convolution of 3 x 3, over those that it adds."""


class PushGraspQmap(nn.Module):
    """Maps (N, 5, S, S) to values (N, 2, rotations, S, S) of pushes and grasps, each along the columns or a direction that lies
    so many steps of 360 degrees / rotations from them towards the rows.

    growth, blocks: of the trunks; as published those of DenseNet-121. zoom: a map is enlarged so much before it is looked at.
    goal: whether there is a trunk for its mask.
    """

    def __init__(
        self, growth: int = 32, blocks: Sequence[int] = (6, 12, 24, 16), rotations: int = 16, zoom: int = 2, goal: bool = True
    ) -> None:
        super().__init__()
        self.rotations, self.zoom, self.goal = rotations, zoom, goal
        for name in ("push_color_trunk", "push_depth_trunk", "grasp_color_trunk", "grasp_depth_trunk"):
            self.add_module(name, _Trunk(growth, blocks))
        self.mask_trunk = _Trunk(growth, blocks) if goal else None
        channels = (3 if goal else 2) * _width(growth, blocks)
        self.pushnet, self.graspnet = (_head(name, channels) for name in ACTIONS)

    def forward(self, maps: Tensor) -> Tensor:
        count = len(maps)
        turns = [torch.full((count,), k, device=maps.device) for k in range(self.rotations)]
        return torch.stack([torch.stack([self.values(maps, action, turn) for turn in turns], 1) for action in ACTIONS], 1)

    def values(self, maps: Tensor, action: Action, turn: Tensor) -> Tensor:
        """Values (N, S, S) of one action at all cells of maps (N, 5, S, S), each along its own turn (N,) of `rotations`."""
        side = maps.shape[-1]
        angle = 2 * math.pi / self.rotations * turn
        turned = _turned(self._framed(maps), angle)
        colour, height, goal = turned[:, :3], turned[:, 3:4].expand(-1, 3, -1, -1), turned[:, 4:].expand(-1, 3, -1, -1)
        seen = [self.get_submodule(f"{action}_color_trunk")(colour), self.get_submodule(f"{action}_depth_trunk")(height)]
        if self.mask_trunk is not None:
            seen.append(self.mask_trunk(goal))
        found = _turned(self.get_submodule(f"{action}net")(torch.cat(seen, 1)), -angle)
        whole = turned.shape[-1] // self.zoom
        margin = (whole - side) // 2
        found = F.interpolate(found, (whole, whole), mode="bilinear", align_corners=False)
        return found[:, 0, margin : margin + side, margin : margin + side]

    def own_modules(self, action: Action) -> list[nn.Module]:
        """What one action learns. The goal's trunk is grasping's: pushing, which grasps judge, leaves it as it is."""
        names = [f"{action}_color_trunk", f"{action}_depth_trunk", f"{action}net"]
        names += ["mask_trunk"] if self.goal and action == "grasp" else []
        return [self.get_submodule(name) for name in names]

    def _framed(self, maps: Tensor) -> Tensor:
        """Maps enlarged, in a frame of zeros that no turn takes them out of, and normalised as published."""
        maps = maps.repeat_interleave(self.zoom, 2).repeat_interleave(self.zoom, 3)
        side = maps.shape[-1]
        margin = (STRIDE * math.ceil(side * math.sqrt(2) / STRIDE) - side) // 2
        maps = F.pad(maps, (margin,) * 4)
        mean = maps.new_tensor([*COLOUR_MEAN, HEIGHT_MEAN, 0.0])[:, None, None]
        return (maps - mean) / maps.new_tensor([*COLOUR_STD, HEIGHT_STD, 1.0])[:, None, None]

    def golden_batch(self) -> tuple[Tensor, ...]:
        """A small map of a smooth pattern with a goal in its middle."""
        side = 2 * STRIDE // self.zoom // 2
        line = torch.linspace(-1, 1, side)
        pattern = 0.5 + 0.4 * torch.sin(3 * line)[:, None] * torch.cos(2 * line)
        goal = ((line.abs() < 0.4)[:, None] & (line.abs() < 0.4)).float()
        return (torch.stack([pattern, pattern.T, 1 - pattern, 0.05 * pattern, goal])[None],)


class _Trunk(nn.Module):
    """DenseNet without its classifier: (N, 3, H, W) to features at every STRIDE-th place."""

    def __init__(self, growth: int, blocks: Sequence[int]) -> None:
        super().__init__()
        channels = 2 * growth
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, channels, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        for number, count in enumerate(blocks, 1):
            layers[f"denseblock{number}"] = _DenseBlock(channels, growth, count)
            channels += growth * count
            if number < len(blocks):
                layers[f"transition{number}"] = nn.Sequential(
                    OrderedDict(
                        norm=nn.BatchNorm2d(channels),
                        relu=nn.ReLU(inplace=True),
                        conv=nn.Conv2d(channels, channels // 2, 1, bias=False),
                        pool=nn.AvgPool2d(2, 2),
                    )
                )
                channels //= 2
        layers["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(layers)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return features


class _DenseBlock(nn.ModuleDict):
    """Layers that each add `growth` channels to all before."""

    def __init__(self, channels: int, growth: int, count: int) -> None:
        super().__init__()
        for number in range(count):
            wide, inner = channels + number * growth, BOTTLENECK * growth
            self[f"denselayer{number + 1}"] = nn.Sequential(
                OrderedDict(
                    norm1=nn.BatchNorm2d(wide),
                    relu1=nn.ReLU(),
                    conv1=nn.Conv2d(wide, inner, 1, bias=False),
                    norm2=nn.BatchNorm2d(inner),
                    relu2=nn.ReLU(inplace=True),
                    conv2=nn.Conv2d(inner, growth, 3, padding=1, bias=False),
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.values():
            x = torch.cat([x, layer(x)], 1)
        return x


def _width(growth: int, blocks: Sequence[int]) -> int:
    """Channels of a trunk's features."""
    channels = 2 * growth
    for count in blocks[:-1]:
        channels = (channels + growth * count) // 2
    return channels + growth * blocks[-1]


def _head(action: Action, channels: int) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 64, 1, bias=False),
        nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.Conv2d(64, 1, 1, bias=False),
    ]  # fmt: skip
    names = ("norm0", "relu0", "conv0", "norm1", "relu1", "conv1")
    return nn.Sequential(OrderedDict((f"{action}-{name}", layer) for name, layer in zip(names, layers, strict=True)))


def _turned(images: Tensor, angle: Tensor) -> Tensor:
    """Images (N, C, H, W) in which what ran along an angle (N,), from columns towards rows, rad, runs along the columns."""
    cos, sin, none = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    places = torch.stack([torch.stack([cos, -sin, none], 1), torch.stack([sin, cos, none], 1)], 1).to(images)
    grid = F.affine_grid(places, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="nearest", align_corners=False)


NETWORK = PushGraspQmap
