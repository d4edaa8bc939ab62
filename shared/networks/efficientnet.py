"""EfficientNet-B0 (arXiv 1905.11946) as a grasp-quality network on depth crops, 5,290,550 parameters.

Parameter names are torchvision's inside `efficient_net.`, and `fc` on top, as in the published state dict.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.networks.layers import SqueezeExcite, conv_unit

# expansion, kernel, stride, input channels, output channels, blocks
STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
RESOLUTION = 224
STOCHASTIC_DEPTH = 0.2


class _MBConv(nn.Module):
    def __init__(self, expansion: int, kernel: int, stride: int, inputs: int, outputs: int, drop: float) -> None:
        super().__init__()
        wide = inputs * expansion
        layers: list[nn.Module] = [conv_unit(inputs, wide, 1, act=nn.SiLU)] if expansion != 1 else []
        layers += [
            conv_unit(wide, wide, kernel, stride, groups=wide, act=nn.SiLU),
            SqueezeExcite(wide, max(1, inputs // 4)),
            conv_unit(wide, outputs, 1, act=None),
        ]
        self.block = nn.Sequential(*layers)
        self.residual, self.drop = stride == 1 and inputs == outputs, drop

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        if not self.residual:
            return y
        if self.training and self.drop:  # stochastic depth: whole rows fall back to the shortcut
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            y = y * kept / (1 - self.drop)
        return x + y


class EfficientNetB0(nn.Module):
    """(N, 3, H, W) -> (N, classes)."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        blocks_total = sum(stage[-1] for stage in STAGES)
        layers: list[nn.Module] = [conv_unit(3, 32, stride=2, act=nn.SiLU)]
        made = 0
        for expansion, kernel, stride, inputs, outputs, blocks in STAGES:
            stage = []
            for block in range(blocks):
                first = block == 0
                drop = STOCHASTIC_DEPTH * made / blocks_total
                stage.append(_MBConv(expansion, kernel, stride if first else 1, inputs if first else outputs, outputs, drop))
                made += 1
            layers.append(nn.Sequential(*stage))
        layers.append(conv_unit(320, 1280, 1, act=nn.SiLU))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))
        return logits


class EfficientNetQuality(nn.Module):
    """Depth crops (N, 1, 32, 32) in metres -> logits (N,).

    mean, std: of the training images, metres. resolution: pixels per side that the crop is enlarged to; a smaller one than the
    published 224 is what a CPU can train.
    """

    crop_size = 32
    takes_gripper_depth = False

    def __init__(self, mean: float = 0.59784445, std: float = 0.00770148, resolution: int = RESOLUTION) -> None:
        super().__init__()
        self.mean, self.std, self.resolution = mean, std, resolution
        self.efficient_net = EfficientNetB0()
        self.fc = nn.Linear(1000, 2)

    def forward(self, depth: Tensor) -> Tensor:
        size = (self.resolution, self.resolution)
        x = F.interpolate((depth - self.mean) / self.std, size=size, mode="bilinear", antialias=True)
        scores = self.fc(self.efficient_net(x.expand(-1, 3, -1, -1)))
        logits: Tensor = scores[:, 0] - scores[:, 1]  # the published softmax holds success in column 0
        return logits

    def golden_batch(self) -> tuple[Tensor, ...]:
        """Fixed input for checks of loaded weights."""
        noise = torch.randn(1, 1, self.crop_size, self.crop_size, generator=torch.Generator().manual_seed(0))
        return (self.mean + self.std * noise,)


NETWORK = EfficientNetQuality
