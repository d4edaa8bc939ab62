"""The policy of a hand with a camera: a small picture to the next movement, and to where it sees its object."""

import torch
from torch import Tensor, nn

from shared.features.eye_in_hand import SIDE

FEATURES = 128
CELLS = 6
"""Cells along a side of what the last convolution gives, for pictures of SIDE pixels."""
LOG_DEVIATION = (-20.0, 2.0)
"""Bounds of the logarithm of an action's deviation before tanh, those of Stable-Baselines3."""


class PictureEncoder(nn.Module):
    """Pictures (N, channels, SIDE, SIDE), 0 to 1, to features (N, features). widths: channels of the three convolutions."""

    def __init__(self, channels: int, widths: tuple[int, int, int] = (16, 32, 32), features: int = FEATURES) -> None:
        super().__init__()
        first, second, third = widths
        self.layers = nn.Sequential(
            # A stride of 3 makes a gradient step 2.5 times cheaper than one of 2 (measured, batch 64, one thread).
            nn.Conv2d(channels, first, 5, 3, 1),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, 2, 1),
            nn.ReLU(),
            # Where something is seen decides, so no pooling.
            nn.Flatten(),
            nn.Linear(third * CELLS**2, features),
            nn.ReLU(),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.layers(pictures)
        return features


def golden_pictures(channels: int) -> Tensor:
    """Fixed pictures (3, channels, SIDE, SIDE) uint8: black, white, and a slope."""
    slope = torch.arange(SIDE, dtype=torch.uint8).mul(4).expand(SIDE, SIDE)
    black = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    return torch.stack([each.expand(channels, SIDE, SIDE) for each in (black, black + 255, slope)])


class PictureActor(nn.Module):
    """Pictures (N, channels, SIDE, SIDE) uint8 to (N, actions + 3): actions, in -1..1, and the object's position.

    What they stand for is in the policy's card. hidden: units of the layer before the actions.
    """

    def __init__(self, channels: int = 1, actions: int = 2, hidden: int = 128) -> None:
        super().__init__()
        self.parameters_of_card = {"channels": channels, "actions": actions, "hidden": hidden}
        self.encoder = PictureEncoder(channels)
        self.latent = nn.Sequential(nn.Linear(FEATURES, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, actions)
        self.spread = nn.Linear(hidden, actions)
        self.position = nn.Linear(FEATURES, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.encoder(pictures.float() / 255)
        return torch.cat([torch.tanh(self.mean(self.latent(features))), self.position(features)], dim=1)

    def sample(self, pictures: Tensor, noise: torch.Generator) -> Tensor:
        """Actions (N, actions) drawn as they are while learning."""
        latent = self.latent(self.encoder(pictures.float() / 255))
        mean, deviation = self.mean(latent), self.spread(latent).clamp(*LOG_DEVIATION).exp()
        return torch.tanh(mean + deviation * torch.randn(mean.shape, generator=noise))

    def golden_batch(self) -> tuple[Tensor, ...]:
        return (golden_pictures(self.parameters_of_card["channels"]),)


NETWORK = PictureActor
