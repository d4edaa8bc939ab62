"""One plan by what is seen after a while: it goes there, whatever is seen later."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainer_job.rl.episodes import LOOK, open_loop

INTERFACE = {
    "movement": [[0.01, 0], [0, -0.01], [0, 0], [0, 0]],
    "still": [0, 0, 0.001, 0],
    "position": (0.1 * np.eye(3)).tolist(),
}


class Seeing(nn.Module):
    """Takes the picture's first pixel for the object's x, in mm, and always acts the same."""

    def forward(self, pictures: Tensor) -> Tensor:
        x = pictures[:, 0, 0, 0].float() / 100
        return torch.stack([0 * x + 0.5, 0 * x - 0.25, x, -x, 0 * x], 1)


def picture(*x: int) -> np.ndarray:
    return np.array(x, np.uint8).reshape(-1, 1, 1, 1)


def test_it_goes_where_it_last_saw_something_while_it_looked() -> None:
    act = open_loop(Seeing(), INTERFACE)  # type: ignore[arg-type]
    steps = np.array([LOOK - 1, 3])
    assert act(picture(60, 60), steps) == pytest.approx(np.array([[0.5, -0.25]] * 2))  # as the policy does
    taken = [act(picture(25, 60), steps + 1), *(act(picture(90, 60), steps + 2 + later) for later in range(3))]
    went = sum(each[0] for each in taken) * [0.01, -0.01]
    assert went == pytest.approx([0.025, -0.025], abs=1e-6)
    assert np.abs(np.stack(taken)).max() <= 1
    assert taken[-1][1] == pytest.approx([0.5, -0.25])  # the other still looks
    again = act(picture(7, 60), np.array([LOOK, 9]))  # a later episode
    assert again[0] == pytest.approx([0.7, 0.7], abs=1e-5)
