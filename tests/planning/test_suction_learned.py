"""Cups ranked by a network: what it says does not depend on how a round cup is turned by half."""

from __future__ import annotations

import math

import torch
from suction_scenes import CUP, LeaningBox, item
from table_scenes import Box, camera

from planning.base import LoadedNetwork
from planning.batched_inference import run_batched
from planning.scene.scene import observe_scene
from planning.suction.learned import SuctionDensePlanner, seen_both_ways
from planning.suction.peel_moment import peel_probability
from planning.suction.search import predict
from shared.networks.suction_dense import SuctionScorer
from shared.registry import ModelCard

VIEW = camera(240, 320, 262.5)


def opinionated() -> LoadedNetwork:
    """A network that has learned nothing, but is not indifferent."""
    torch.manual_seed(0)
    network = SuctionScorer().eval()
    torch.nn.init.normal_(network.head[-1].weight)
    card = ModelCard(name="suction-dense", architecture="suction-dense")
    return LoadedNetwork("suction-dense", 1, network, card, torch.device("cpu"))


@torch.inference_mode()
def test_a_view_and_the_same_turned_by_half_are_one() -> None:
    network = opinionated()
    [seen] = network.module.golden_batch()  # type: ignore[operator]
    turned = torch.rot90(seen, 2, (2, 3))
    assert not torch.allclose(network.module(seen), network.module(turned), atol=1e-3)
    [(one, _), (other, _)] = run_batched([seen_both_ways(network, seen), seen_both_ways(network, turned)])
    torch.testing.assert_close(one, other)


def test_answers_are_sorted_and_name_their_model_in_every_scene_of_a_batch() -> None:
    solids = [
        [Box(-0.05, 0.0, 0.5, 0.1, 0.08, 0.03)],
        [],
        [LeaningBox(0.07, 0.01, 0.05, 0.7, math.radians(25), 0.08, 0.07, 0.05)],
    ]
    plans = SuctionDensePlanner().plan_batch([item(VIEW, each, CUP) for each in solids], opinionated())
    assert [bool(plan.grasps) for plan in plans] == [True, False, True]
    for plan in plans:
        assert plan.model is not None
        assert (plan.model.name, plan.model.version) == ("suction-dense", 1)
        assert [grasp.quality for grasp in plan.grasps] == sorted((grasp.quality for grasp in plan.grasps), reverse=True)


def test_a_small_cup_is_sent_to_the_middle_where_a_large_one_may_hold_anywhere() -> None:
    """The network finds all contacts on a plate equal; a weight beside a cup peels off a small one only."""
    torch.manual_seed(0)
    indifferent = SuctionScorer().eval()
    card = ModelCard(name="suction-dense", architecture="suction-dense")
    network = LoadedNetwork("suction-dense", 1, indifferent, card, torch.device("cpu"))
    spread = {}
    for radius in (0.0075, 0.03):
        cup = CUP.model_copy(update={"cup_radius": radius})
        [plan] = SuctionDensePlanner().plan_batch([item(VIEW, [Box(0.0, 0.0, 0.0, 0.16, 0.12, 0.03)], cup)], network)
        away = [math.hypot(grasp.pose_base[0][3], grasp.pose_base[1][3]) for grasp in plan.grasps]
        assert max(away) > min(away) + 0.015
        assert radius > 0.01 or away[0] == min(away)
        spread[radius] = max(grasp.quality for grasp in plan.grasps) - min(grasp.quality for grasp in plan.grasps)
    assert spread[0.0075] > 0.1
    assert spread[0.03] < min(0.05, spread[0.0075] / 3)


def test_a_block_on_the_end_of_a_bar_is_held_nearer_to_the_middle_of_both() -> None:
    """The block has a middle of its own, but what is lifted is both."""
    cup = CUP.model_copy(update={"cup_radius": 0.0075})
    solids = [Box(0.0, 0.0, 0.0, 0.2, 0.04, 0.02), Box(0.08, 0.0, 0.0, 0.04, 0.04, 0.06)]
    observation, request = item(VIEW, solids, cup, n_grasps=50)
    scene = observe_scene(observation, request, torch.device("cpu"))
    _, cups, _ = predict(scene)
    middle = float(
        sum(s.x * s.length * s.width * s.height for s in solids) / sum(s.length * s.width * s.height for s in solids)
    )
    probability = peel_probability(cups.heaviest)
    on_block, between = cups.rise > 0.05, (cups.rise < 0.03) & ((cups.x - middle).abs() < 0.015)
    assert on_block.any()
    assert between.any()
    assert float(probability[between].min()) > float(probability[on_block].max())
