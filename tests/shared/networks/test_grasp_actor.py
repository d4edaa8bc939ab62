"""The policy for any object: it commits itself to one grasp, waits over the object until it is aligned, and closes there."""

from __future__ import annotations

import pytest
import torch

from shared.networks.grasp_actor import GraspActor


def grasp(x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0, clear: float = 0.0) -> torch.Tensor:
    """In m and rad, as advice."""
    told = torch.tensor([x / 0.1, y / 0.1, z / 0.1, turn, turn, clear / 0.1])
    told[3], told[4] = torch.cos(2 * told[3]), torch.sin(2 * told[4])
    return told[None]


@pytest.mark.parametrize(
    ("told", "action"),
    [
        (grasp(x=0.05, z=0.10, clear=0.10), [1, 0, 1, 0, -1]),  # goes down as far as over the object only
        (grasp(x=0.02, z=0.04, clear=0.024), [1, 0, 0.4, 0, -1]),
        (grasp(x=-0.02, z=0.01, clear=-0.01), [-1, 0, -1, 0, -1]),  # too low beside the grasp: up again
        (grasp(x=0.004, y=-0.002, z=0.03, clear=0.01), [0.4, -0.2, 1, 0, -1]),
        (grasp(z=0.03, turn=0.6, clear=0.02), [0, 0, 0, 1, -1]),
        (grasp(x=0.002, z=0.002, turn=-0.075, clear=-0.02), [0.2, 0, 0.2, -0.5, 1]),
    ],
)
def test_it_goes_over_a_grasp_then_down_and_closes_there(told: torch.Tensor, action: list[float]) -> None:
    assert GraspActor().steer(told)[0].tolist() == pytest.approx(action, abs=1e-4)


def test_where_two_grasps_are_as_good_it_goes_for_one() -> None:
    torch.manual_seed(0)
    actor, picture = GraspActor(grasps=3), torch.randint(0, 256, (1, 1, 64, 64), dtype=torch.uint8)
    either = torch.cat([grasp(x=-0.04, z=0.05), grasp(x=0.04, z=0.05, turn=0.7)]).repeat(2, 1)
    optimizer = torch.optim.Adam(actor.parameters(), 3e-3)
    for _ in range(60):
        loss = actor.loss(picture.expand(4, -1, -1, -1), either)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, y, z = actor.eval()(picture)[0, 5:].tolist()
    assert abs(x) == pytest.approx(0.4, abs=0.1)  # not in the middle of them
    assert (y, z) == (pytest.approx(0, abs=0.1), pytest.approx(0.5, abs=0.1))
    drawn = torch.cat([actor.sample(picture, torch.Generator().manual_seed(seed)) for seed in range(40)])
    assert {round(each) for each in drawn[:, 0].tolist()} == {-1, 1}
