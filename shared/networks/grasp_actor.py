"""The policy of a hand that goes for any object: a small picture to where it would grasp, and to the movement towards there."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.networks.picture_actor import PictureEncoder, golden_pictures

FEATURES = 256
SCALE = 0.1
"""m that count as 1."""
ALIGNED, STRAIGHT = 0.008, 0.12
"""m and rad off the grasp within which a hand goes down to it."""
OVER_TOP = 0.02
"""m over the object where it waits until then."""
ARRIVED = 0.003
"""m off the grasp's height where it closes."""
GRASP = 5
"""Numbers of a grasp in the tip frame: x, y, z in SCALE, cosine and sine of twice its angle: half a turn makes no other."""
LOG_DEVIATION = (-4.0, 1.0)
"""Bounds of the logarithm of what a grasp told is off."""


class GraspActor(nn.Module):
    """Pictures (N, channels, SIDE, SIDE) uint8 to (N, 5 + 3): an action, in -1..1, and where it would grasp.

    An action moves the hand by up to `shift` m along x, y and z of the tip frame and turns it by up to `turn` rad; the last
    number closes it. The network tells several grasps that a picture may call for, each with its chance, since a mean of two
    is none; the action leads to the likeliest.
    """

    def __init__(self, channels: int = 1, grasps: int = 8, shift: float = 0.01, turn: float = 0.15) -> None:
        super().__init__()
        self.parameters_of_card: dict[str, Any] = {"channels": channels, "grasps": grasps, "shift": shift, "turn": turn}
        self.grasps, self.shift, self.turn = grasps, shift, turn
        self.encoder = nn.Sequential(PictureEncoder(channels, (24, 48, 64), FEATURES), nn.Linear(FEATURES, FEATURES), nn.ReLU())
        self.means = nn.Linear(FEATURES, grasps * GRASP)
        self.chances = nn.Linear(FEATURES, grasps)
        self.deviation = nn.Linear(FEATURES, 3)
        self.clear = nn.Linear(FEATURES, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        means, chances, deviation, clear = self._told(self._features(pictures))
        # Several of them may tell the same grasp: the likeliest is where the density is highest, not the largest share.
        density = torch.logsumexp(chances[:, None] - 0.5 * self._far(means[:, :, None], means[:, None], deviation[:, None]), 2)
        best = density.argmax(1)
        told = torch.cat([means[torch.arange(len(means)), best], clear], 1)
        return torch.cat([self.steer(told), told[:, :3]], 1)

    def sample(self, pictures: Tensor, noise: torch.Generator) -> Tensor:
        """Actions (N, 5) towards grasps drawn by their chances."""
        means, chances, _, clear = self._told(self._features(pictures))
        drawn = torch.multinomial(chances.exp(), 1, generator=noise)[:, 0]
        return self.steer(torch.cat([means[torch.arange(len(means)), drawn], clear], 1))

    def loss(self, pictures: Tensor, advice: Tensor, short: bool = False) -> Tensor:
        """Mean negative log-likelihood of grasps that `advice` (N, GRASP + 1) tells, and the error of the height over the
        object, its last number. short: convolve in bfloat16."""
        # What is convolved may be coarse: on processors that have bfloat16 a step then takes half the time.
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=short):
            features = self._features(pictures)
        means, chances, deviation, clear = self._told(features.float())
        near = chances - 0.5 * self._far(means, advice[:, None, :GRASP], deviation)
        spread = deviation @ deviation.new_tensor([2.0, 1.0, 2.0])
        return (spread - torch.logsumexp(near, 1)).mean() + 10 * F.smooth_l1_loss(clear[:, 0], advice[:, GRASP], beta=0.1)

    def steer(self, told: Tensor) -> Tensor:
        """Actions (N, 5) towards grasps (N, GRASP + 1), as `advice` tells them."""
        x, y, z = (told[:, :3] * SCALE).unbind(1)
        turn, clear = torch.atan2(told[:, 4], told[:, 3]) / 2, told[:, 5] * SCALE
        aligned = (torch.hypot(x, y) < ALIGNED) & (turn.abs() < STRAIGHT)
        down = torch.where(aligned, z, clear - OVER_TOP)
        close = torch.where(aligned & (z.abs() < ARRIVED), 1.0, -1.0)
        return torch.stack([x / self.shift, y / self.shift, down / self.shift, turn / self.turn, close], 1).clamp(-1, 1)

    def _features(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.encoder(pictures.float() / 255)
        return features

    def _told(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Grasps (N, K, GRASP), logarithms of their chances (N, K) and of their deviations (N, 3): of x and y, of z, of the
        angle; how far tips are over the object (N, 1)."""
        means = self.means(features).view(-1, self.grasps, GRASP)
        return (
            means,
            F.log_softmax(self.chances(features), 1),
            self.deviation(features).clamp(*LOG_DEVIATION),
            self.clear(features),
        )

    @staticmethod
    def _far(one: Tensor, other: Tensor, deviation: Tensor) -> Tensor:
        """Squared distance of grasps in deviations (N, 3), which stand before any other axes."""
        each = deviation[..., [0, 0, 1, 2, 2]].exp()
        while each.dim() < one.dim():
            each = each[:, None]
        return ((one - other) / each).square().sum(-1)

    def golden_batch(self) -> tuple[Tensor, ...]:
        return (golden_pictures(self.parameters_of_card["channels"]),)


NETWORK = GraspActor
