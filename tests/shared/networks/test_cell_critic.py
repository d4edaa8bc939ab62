"""The critic of a cell sees what hands see that go elsewhere than they are told, and learns from their outcomes where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from table_scenes import Box, camera, render
from torch import Tensor, nn

from grasp_client.contract import Gripper
from planning.refined.planner import moved
from shared.features.hand_frame import COLUMNS, ROWS, STEP, patches
from shared.features.place import frame_of, places
from shared.grasp_poses import HandPose
from shared.maps.heightmap import project
from shared.networks.cell_critic import GAIN, SHIFT, TURN, CellCritic, as_seen_from
from shared.networks.dense import DenseScorer
from trainer_job.data.examples import Examples
from trainer_job.tasks import task_of_model
from trainer_job.training.loop import train
from trainer_job.training.round import FRESH

VIEW = camera(240, 320, 262.5)
SCENE = project(render(VIEW, [Box(0.02, 0.01, 0.3, 0.10, 0.03, 0.04)]), VIEW.intrinsics, VIEW.pose)
FRAME = frame_of(SCENE.pose, VIEW.pose)


def hands(count: int, seed: int = 0) -> HandPose:
    """Over the box, at every yaw, in the map."""
    random = np.random.default_rng(seed)
    base = np.column_stack([random.normal([0.02, 0.01], 0.012, (count, 2)), np.full(count, 0.02)])
    position = torch.from_numpy((base - FRAME[:3, 3]) @ FRAME[:3, :3]).float()
    x, y, z = position.unbind(1)
    angle = torch.from_numpy(random.uniform(-np.pi, np.pi, count)).float()
    return HandPose.straight_down(x, y, -z, angle, torch.full((count,), 0.06))


def critic(shift: tuple[float, float, float], turn: tuple[float, float, float]) -> CellCritic:
    network = CellCritic().eval()
    with torch.no_grad():
        network.movement.copy_(torch.tensor([*shift, *turn]) / torch.tensor([SHIFT] * 3 + [TURN] * 3))
    return network


def test_places_are_in_the_base_frame() -> None:
    told = places(hands(3), FRAME)
    assert told[:, 8] == pytest.approx(torch.full((3,), 0.02), abs=1e-5)
    assert torch.linalg.cross(told[:, :3], told[:, 3:6])[:, 2] == pytest.approx(torch.full((3,), -1.0), abs=1e-5)


def test_it_sees_what_a_hand_sees_that_goes_elsewhere() -> None:
    network, told = critic((0.012, -0.009, 0.006), (0.0, 0.0, 0.07)), hands(20)
    there = patches(SCENE, moved(network, told, FRAME), Gripper())
    here = patches(SCENE, told, Gripper())
    with torch.no_grad():
        seen = as_seen_from(here, *network.displacement(places(told, FRAME)))
    inner = (slice(None), slice(None), slice(6, ROWS - 6), slice(6, COLUMNS - 6))
    assert (seen - there)[inner].abs().mean() < 0.15 * (here - there)[inner].abs().mean()
    assert torch.equal(seen[:, 2], here[:, 2])  # the fingers are the hand's own


def test_a_small_hand_sees_the_movement_in_its_own_cells() -> None:
    small = Gripper(max_width=0.02, finger_width=0.006, finger_thickness=0.004)
    network, told = critic((0.003, -0.002, 0.0), (0.0, 0.0, 0.0)), hands(20)
    narrow = HandPose(told.position, told.approach, told.angle, 0 * told.width + 0.015)
    here, there = (patches(SCENE, each, small) for each in (narrow, moved(network, narrow, FRAME)))
    with torch.no_grad():
        seen = as_seen_from(here, *network.displacement(places(narrow, FRAME)))
    inner = (slice(None), slice(None), slice(6, ROWS - 6), slice(6, COLUMNS - 6))
    assert (seen - there)[inner].abs().mean() < 0.3 * (here - there)[inner].abs().mean()


def test_weights_that_know_no_size_see_none() -> None:
    network = CellCritic().eval()
    old = DenseScorer(channels=5).eval()
    nn.init.normal_(old.head[-1].weight)
    network.take_scorer(old.state_dict())
    (seen,) = old.golden_batch()
    with torch.no_grad():
        assert network.scorer(seen) == pytest.approx(old(seen), abs=1e-6)


def test_without_a_movement_it_is_the_scorer() -> None:
    network = CellCritic().eval()
    nn.init.normal_(network.scorer.head[-1].weight)
    seen, told = network.golden_batch()
    network.set_gain(0.8)
    with torch.no_grad():
        assert network(seen, told) == pytest.approx(0.8 * network.scorer(seen), abs=1e-4)
    assert float((GAIN * network.trust)[1].detach()) == 0


class Centred(nn.Module):
    """Likes what stands in the middle between the fingers."""

    def forward(self, seen: Tensor) -> Tensor:
        along = STEP * (torch.arange(COLUMNS) - (COLUMNS - 1) / 2)
        stands = (seen[:, 0] + 0.34).clamp(min=0).mean(1)
        aside = (stands * along).sum(1) / stands.sum(1).clamp(min=1e-6)
        return 4 - (aside / 0.004) ** 2


def test_outcomes_tell_where_hands_really_go() -> None:
    """Labels come of hands 9 mm and 3 degrees off; from 400 of them, at all yaws, the movement in the plane is found again."""
    truth = critic((0.007, -0.006, 0.0), (0.0, 0.0, 0.05))
    told = hands(400)
    truth.scorer = Centred()  # type: ignore[assignment]
    seen, where = patches(SCENE, told, Gripper()), places(told, FRAME)
    with torch.no_grad():
        likely = torch.sigmoid(truth(seen, where))
    labels = (torch.rand(len(likely), generator=torch.Generator().manual_seed(0)) < likely).float()
    network = critic((0, 0, 0), (0, 0, 0))
    network.scorer = Centred()  # type: ignore[assignment]
    often = replace(FRESH, batch=20, epochs=6)
    train(network, task_of_model("refine"), Examples(seen.numpy(), labels.numpy(), where.numpy()), often, 0)
    network.eval()
    found, wanted = (each.displacement(where)[0][:, 0].detach() for each in (network, truth))
    assert wanted.abs().mean() > 0.004
    assert (found - wanted).abs().mean() < 0.3 * wanted.abs().mean()


def test_what_thousands_have_taught_stays() -> None:
    network = CellCritic().train()
    before = {name: value.clone() for name, value in network.scorer.state_dict().items()}
    seen, where = (each.repeat(20, *[1] * (each.ndim - 1)) for each in network.golden_batch())
    labels = np.arange(len(seen)) % 2
    train(network, task_of_model("refine"), Examples(seen.numpy(), labels.astype(np.float32), where.numpy()), FRESH, 0)
    for name, value in network.scorer.state_dict().items():
        assert torch.equal(value, before[name]), name
