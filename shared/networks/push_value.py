"""The value of a push: the quality of the goal's best grasp after it, from `shared.features.push`."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from shared.features.push import CROP, FEATURES
from shared.networks.layers import PatchScorer


class PushValue(nn.Module):
    """Features (N, len(FEATURES)), and where `crop_width` is not 0 crops (N, *CROP), to logits of the quality (N,).

    hidden: units of both hidden layers of each member; members: small networks whose logits are averaged; trained each on its
    own draw of the scenes they differ where little is known. crop_width: channels of the first layer of a scorer of crops;
    each of the last `crop_members` members adds the logits of one, which start as 0: they begin with what the numbers tell.
    """

    def __init__(self, hidden: int = 64, members: int = 4, crop_width: int = 0, crop_members: int = 1) -> None:
        super().__init__()
        sizes = (len(FEATURES), hidden, hidden, 1)
        self.weights = nn.ParameterList(
            nn.Parameter((2 * torch.rand(members, inputs, outputs) - 1) / math.sqrt(inputs))
            for inputs, outputs in pairwise(sizes)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, outputs)) for outputs in sizes[1:])
        self.crop_width = crop_width
        widths = crop_width, crop_width, crop_width, 2 * crop_width
        self.crop_scorers = nn.ModuleList(PatchScorer(*CROP, widths) for _ in range(crop_members if crop_width else 0))
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(len(FEATURES)))
        self.register_buffer("deviation", torch.ones(len(FEATURES)))

    def standardize(self, features: Tensor) -> None:
        """Take mean and deviation of features (N, len(FEATURES)) for those by which inputs are told from now on."""
        self.mean.copy_(features.mean(0))
        self.deviation.copy_(features.std(0).clamp(min=1e-3))

    def members(self, features: Tensor, crops: Tensor | None = None) -> Tensor:
        """Logits (members, N) of every member."""
        values = ((features - self.mean) / self.deviation)[None]
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = values @ weight + bias
            if index < len(self.weights) - 1:
                values = torch.relu(values)
        logits = values.squeeze(2)
        if crops is None or not len(self.crop_scorers):
            return logits
        blind = len(logits) - len(self.crop_scorers)
        return torch.cat([logits[:blind], logits[blind:] + torch.stack([scorer(crops) for scorer in self.crop_scorers])])

    def forward(self, features: Tensor, crops: Tensor | None = None) -> Tensor:
        return self.members(features, crops).mean(0)

    def golden_batch(self) -> tuple[Tensor, ...]:
        """Fixed features: none, all alike, and a slope; crops of a smooth pattern where the network looks at them."""
        slope = torch.linspace(-1, 1, len(FEATURES))
        features = torch.stack([torch.zeros_like(slope), torch.full_like(slope, 0.5), slope])
        if not self.crop_width:
            return (features,)
        channels, rows, columns = CROP
        pattern = torch.sin(3 * torch.linspace(-1, 1, columns)) * torch.cos(2 * torch.linspace(-1, 1, rows))[:, None]
        phases = torch.linspace(0.2, 1, 3 * channels).reshape(3, channels, 1, 1)
        return features, phases * pattern


NETWORK = PushValue
