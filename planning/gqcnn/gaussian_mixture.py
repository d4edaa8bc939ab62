"""A Gaussian mixture with diagonal covariances, fitted by expectation-maximisation: the sampler of the cross-entropy method."""

import torch
from torch import Tensor

ROUNDS = 12


class Mixture:
    """Fitted to points (N, D). floor: (D,) least standard deviation of a component along each axis."""

    def __init__(self, points: Tensor, components: int, floor: Tensor, generator: torch.Generator):
        count = min(components, len(points))
        picked = torch.randperm(len(points), generator=generator)[:count]
        self.means = points[picked]
        self.deviations = torch.maximum(points.std(0, correction=0), floor).expand(count, -1)
        self.weights = torch.full((count,), 1 / count)
        # Few points and many components: without the floor one of them would collapse onto a single point.
        for _ in range(ROUNDS):
            share = self._responsibilities(points)
            mass = share.sum(0) + 1e-9
            self.means = (share.T @ points) / mass[:, None]
            spread = (share[:, :, None] * (points[:, None] - self.means) ** 2).sum(0) / mass[:, None]
            self.deviations = torch.maximum(spread.sqrt(), floor)
            self.weights = mass / mass.sum()

    def _responsibilities(self, points: Tensor) -> Tensor:
        """(N, components): how likely each point comes from each component."""
        scaled = (points[:, None] - self.means) / self.deviations
        log = -0.5 * (scaled**2).sum(2) - self.deviations.log().sum(1) + self.weights.log()
        return torch.softmax(log, dim=1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, D) points."""
        component = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator)
        return self.means[component] + noise * self.deviations[component]
