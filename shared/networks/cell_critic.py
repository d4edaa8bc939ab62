"""The critic of planner `refined`: the scorer of `dense`, looking where hands of a cell really go.

In a cell whose camera is not where it is said to be, a hand that is told to go to a pose goes, in what is seen, elsewhere: by
the same small movement of the base frame every time. A network that sees what a told pose shows cannot know of it, and in the
hand's own frame it is another one at every yaw. So the critic is told the pose and has the movement as six weights. What it
learns beside them, by few trials little, is how grasps of this cell and its planner fare.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.features.hand_frame import CHANNELS, COLUMNS, FAR_SPAN, FAR_STEP, OCTAVES, ROWS, SPAN, STEP
from shared.networks.dense import DenseScorer

PLACE = 9
"""Numbers of a told pose: closing axis, axis across it, and position, m, in the frame of the movement."""
SHIFT, TURN = 1.5, 7.5
"""What a weight of 1 stands for, m and rad: so that steps as small as networks learn by reach any error of calibration."""
GAIN = 50.0
"""The same for what a scorer's logits are multiplied by and raised."""
NEAR, FAR = (0, 1), (3, 4)
"""Channels of a patch that show the scene, on near and far cells; height first."""
SIZE = 5
"""Channel that tells how large the hand is."""
FIRST_LAYER = "trunk.0.0.weight"


class CellCritic(nn.Module):
    """Patches (N, CHANNELS, ROWS, COLUMNS) and places (N, PLACE) of told poses to logits of success (N,).

    width: of the scorer. base: planner whose proposals it has learned to correct.
    """

    def __init__(self, width: int = 24, base: str = "dense") -> None:
        super().__init__()
        self.base = base
        # A cell's few outcomes shall tell where its hands go, and not spoil what thousands have taught of grasping.
        self.scorer = DenseScorer(width, CHANNELS).requires_grad_(False)
        self.movement = nn.Parameter(torch.zeros(6))
        self.trust = nn.Parameter(torch.zeros(2))

    def train(self, mode: bool = True) -> "CellCritic":
        """The scorer's running means stay as they are, too."""
        super().train(mode)
        self.scorer.eval()
        return self

    def take_scorer(self, weights: dict[str, Tensor]) -> None:
        """Weights of `dense`; those that look at fewer channels see nothing in the others. Raises RuntimeError for others."""
        first = weights[FIRST_LAYER]
        blind = first.new_zeros((len(first), CHANNELS - first.shape[1], *first.shape[2:]))
        self.scorer.load_state_dict({**weights, FIRST_LAYER: torch.cat([first, blind], 1)})

    def set_gain(self, gain: float) -> None:
        """Say by what the scorer's logits are multiplied."""
        with torch.no_grad():
            self.trust[0] = (gain - 1) / GAIN

    def movements(self) -> tuple[Tensor, Tensor]:
        """Shift (3,), m, and rotation vector (3,), rad, from told to true in the frame of places."""
        return SHIFT * self.movement[:3], TURN * self.movement[3:]

    def displacement(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3), m: how far hands go beside what they are told, in their own frames; (N,), rad: how far they turn."""
        shift, turn = self.movements()
        closing, across, position = places.unflatten(1, (3, 3)).unbind(1)
        approach = torch.linalg.cross(closing, across)
        moved = shift + torch.linalg.cross(turn.expand_as(position), position)
        return torch.stack([(moved * axis).sum(1) for axis in (closing, across, approach)], 1), approach @ turn

    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        moved, turned = self.displacement(places)
        gain, bias = (GAIN * self.trust).unbind()
        logits: Tensor = (1 + gain) * self.scorer(as_seen_from(patches, moved, turned)) + bias
        return logits

    def golden_batch(self) -> tuple[Tensor, ...]:
        """The scorer's patches, at three yaws."""
        (patches,) = self.scorer.golden_batch()
        yaw = torch.arange(len(patches), dtype=torch.float32)
        zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
        closing = torch.stack([yaw.cos(), yaw.sin(), zero], 1)
        across = torch.stack([yaw.sin(), -yaw.cos(), zero], 1)
        return patches, torch.cat([closing, across, torch.stack([zero, zero, 0.02 * one], 1)], 1)


def as_seen_from(patches: Tensor, moved: Tensor, turned: Tensor) -> Tensor:
    """Patches (N, CHANNELS, ROWS, COLUMNS) as hands see them that are `moved` (N, 3), m, in their frames, and `turned` (N,)."""
    found = list(patches.unbind(1))
    scale = torch.exp2(OCTAVES * patches[:, SIZE, 0, 0])  # cells and spans are those of the hand's size
    moved = moved / scale[:, None]
    for (height, known), step, span in ((NEAR, STEP, SPAN), (FAR, FAR_STEP, FAR_SPAN)):
        half = 0.5 * step * moved.new_tensor([COLUMNS, ROWS])
        cos, sin = torch.cos(turned), torch.sin(turned)
        ratio = half[1] / half[0]
        rows = torch.stack([cos, -sin * ratio, moved[:, 0] / half[0], sin / ratio, cos, moved[:, 1] / half[1]], 1)
        grid = F.affine_grid(rows.reshape(-1, 2, 3), [len(patches), 2, ROWS, COLUMNS], align_corners=False)
        layers = patches[:, [height, known]].contiguous()
        sampled = F.grid_sample(layers, grid, mode="bilinear", padding_mode="border", align_corners=False)
        found[height] = (sampled[:, 0] + (moved[:, 2] / span)[:, None, None]).clamp(-1, 1)
        found[known] = sampled[:, 1]
    return torch.stack(found, 1)


NETWORK = CellCritic
