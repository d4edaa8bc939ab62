"""Learns to tell where a dot is in a picture: checks in a minute that an encoder keeps positions.

    grasploop train coordinates --observation grey

A regression of coordinates: 3,276 pictures to learn from and 820 to test, 10 epochs of Adam at
1e-3. An encoder that is many pixels off here will not steer a hand; status 1 says so.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.features.eye_in_hand import SIDE, VIEWS, channels
from shared.networks.picture_actor import FEATURES, PictureEncoder

LEARNED, TESTED = 3_276, 820
EPOCHS = 10
BATCH = 32
LEARNING_RATE = 1e-3
RADIUS = 2.0
"""Pixels of a dot."""
GOOD = 3.0
"""Pixels of mean error under which an encoder passes."""


class DotRegressor(nn.Module):
    """Pictures (N, channels, SIDE, SIDE), 0 to 1, to (row, column) (N, 2) of the dot, as shares of the last row and column."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encoder = PictureEncoder(channels)
        self.place = nn.Linear(FEATURES, 2)

    def forward(self, pictures: Tensor) -> Tensor:
        places: Tensor = self.place(self.encoder(pictures))
        return places


def dots(count: int, depth: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(count, depth, SIDE, SIDE) float32 pictures of a dot each, brighter than the ground; its (row, column) (count, 2)."""
    places = random.integers(0, SIDE, (count, 2))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = np.hypot(rows - places[:, 0, None, None], columns - places[:, 1, None, None]) <= RADIUS
    ground, dot = random.uniform(0, 0.4, (count, depth, 1, 1)), random.uniform(0.6, 1, (count, depth, 1, 1))
    pictures = np.where(inside[:, None], dot, ground).astype(np.float32)
    return torch.from_numpy(pictures), torch.from_numpy((places / (SIDE - 1)).astype(np.float32))


def learn(depth: int, seed: int, epochs: int = EPOCHS, learned: int = LEARNED, tested: int = TESTED) -> tuple[float, float]:
    """Mean squared error of the shares, and mean distance in pixels, on pictures that were not learned from."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    pictures, places = dots(learned, depth, random)
    network = DotRegressor(depth)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    for epoch in range(epochs):
        losses = []
        for batch in torch.from_numpy(random.permutation(learned)).split(BATCH):
            optimizer.zero_grad()
            loss = F.mse_loss(network(pictures[batch]), places[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1} of {epochs}: mean squared error {np.mean(losses):.5f}", flush=True)
    pictures, places = dots(tested, depth, random)
    with torch.inference_mode():
        found = network(pictures)
    return F.mse_loss(found, places).item(), float(((found - places) * (SIDE - 1)).norm(dim=1).mean())


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.torch_threads)
    error, pixels = learn(channels(options.observation), options.seed, options.epochs)
    print(f"on {TESTED} new pictures: mean squared error {error:.5f}, {pixels:.2f} pixels off ({GOOD:g} or less is good)")
    return 0 if pixels <= GOOD else 1


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("grasploop train", description=__doc__, formatter_class=raw)
    parser.add_argument("task", choices=["coordinates"])
    parser.add_argument("--observation", choices=VIEWS, default="rgb", help="decides the number of channels")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--torch-threads", type=int, default=1)
    return parser
