"""The analytic scores: fixed values for fixed poses, and what each weight is worth."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from suction_scenes import LeaningBox, item
from table_scenes import SLIM_HAND, Box, camera

from planning.jaw.candidates import JawCandidates
from planning.jaw.contact import EXTRA
from planning.jaw.fit import measure
from planning.jaw.search import JAW_WEIGHTS, MOST_OVERLAP, contact_score, rate
from planning.scene.scene import PlanningScene, observe_scene
from planning.suction.candidates import SuctionCandidates
from planning.suction.seal import lay_cups
from planning.suction.search import SUCTION_WEIGHTS
from planning.suction.search import rate as rate_cups

VIEW = camera(480, 640, 525.0)
CPU = torch.device("cpu")
THIN_PLATE = LeaningBox(0.0, 0.0, 0.015, 0.3, 0.1, 0.09, 0.006, 0.03)
NEIGHBOUR = Box(-0.025, 0.029, 0.5, 0.04, 0.03, 0.04)
WIDE_BOX = Box(0.0, 0.12, 0.0, 0.10, 0.076, 0.04)
STEEP_BOX = LeaningBox(0.14, 0.0, 0.03, 0.3, 0.5, 0.05, 0.03, 0.05)
RIDGE = LeaningBox(-0.15, 0.0, 0.0, 0.0, math.pi / 4, 0.08, 0.06, 0.06)
"""A wedge of 45 degrees on both sides: the upper half of a box that stands on its edge."""
LEANING_BOX = LeaningBox(0.0, 0.01, 0.05, 0.7, 0.44, 0.08, 0.07, 0.05)


@pytest.fixture(scope="module")
def scene() -> PlanningScene:
    """A thin plate that leans, with a block beside it, a box as wide as the jaw, one that leans, and a ridge."""
    return observe_scene(*item(VIEW, [THIN_PLATE, NEIGHBOUR, WIDE_BOX, STEEP_BOX, RIDGE], SLIM_HAND), CPU)  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def hands(scene: PlanningScene) -> JawCandidates:
    """Two hands that grip the plate askew near its ends, one with room beside its fingers and one off the middle; one without
    room for padding, one on a slanted side, one round two things, and one across a ridge."""
    poses = [
        [0.034, -0.018, 1.47],
        [-0.039, 0.014, 1.05],
        [0.0, -0.12, 1.571],
        [0.133, 0.008, 2.02],
        [-0.022, -0.002, 1.247],
        [-0.15, 0.0, 1.571],
    ]
    x, y, angle = torch.tensor(poses).T
    found, _ = measure(scene, x, y, angle, close=True)
    assert len(found) == 6
    return found


@pytest.fixture(scope="module")
def cup() -> SuctionCandidates:
    """A cup on the leaning face of a box, near an edge."""
    found = observe_scene(*item(VIEW, [LEANING_BOX]), CPU)  # type: ignore[call-arg]
    return lay_cups(found, torch.tensor([0.02]), torch.tensor([0.01]), close=True)


def test_scores_of_jaw_grasps_are_pinned(scene: PlanningScene, hands: JawCandidates) -> None:
    assert rate(scene, hands).tolist() == pytest.approx([1.14135, -0.51338, 0.39323, 0.33732, 2.56676, -2.65557], abs=1e-4)


def test_what_leans_alike_on_both_sides_is_promised_little(scene: PlanningScene, hands: JawCandidates) -> None:
    """Fingers slip off a wedge of 45 degrees; a ledge, or one side that leans, is no wedge."""
    assert hands.steep[5] == pytest.approx(1.0, abs=0.2)
    assert hands.steep[:5].max() < 0.5
    assert torch.sigmoid(rate(scene, hands)[5]) < 0.2


@pytest.mark.parametrize("name", [field.name for field in fields(JAW_WEIGHTS)])
def test_a_change_of_one_percent_of_a_jaw_weight_moves_a_pinned_score(hands: JawCandidates, name: str) -> None:
    changed = replace(JAW_WEIGHTS, **{name: 1.01 * getattr(JAW_WEIGHTS, name)})
    assert (contact_score(hands, changed) - contact_score(hands)).abs().max() > 1e-4


def test_overlap_and_clearance_are_worth_what_their_weights_say(scene: PlanningScene, hands: JawCandidates) -> None:
    worth = {"overlap": 0.0696, "clearance": 0.2118}
    most = {"overlap": 0.020, "clearance": 0.006}
    assert (MOST_OVERLAP, max(EXTRA)) == tuple(most.values())
    for name, logits in worth.items():
        none, full, more = (replace(hands, **{name: torch.full((6,), value)}) for value in (0.0, most[name], 2 * most[name]))
        assert (rate(scene, full) - rate(scene, none)).tolist() == pytest.approx([logits] * 6, abs=1e-4)
        if name == "overlap":
            assert torch.equal(rate(scene, more), rate(scene, full))


def test_score_of_a_cup_is_pinned(cup: SuctionCandidates) -> None:
    assert rate_cups(cup).tolist() == pytest.approx([1.21997], abs=1e-4)


@pytest.mark.parametrize("name", [field.name for field in fields(SUCTION_WEIGHTS)])
def test_a_change_of_one_percent_of_a_cup_weight_moves_the_pinned_score(cup: SuctionCandidates, name: str) -> None:
    changed = replace(SUCTION_WEIGHTS, **{name: 1.01 * getattr(SUCTION_WEIGHTS, name)})
    assert (rate_cups(cup, changed) - rate_cups(cup)).abs().max() > 1e-4
