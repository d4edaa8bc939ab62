"""Cups drawn per scene: what executes, what the planner is told, and what is kept."""

import math

import numpy as np
import pytest

from grasp_client.contract import Gripper
from shared.outcome_codec import decode_outcome
from sim_worker.collect.collector import CollectionRecipe, Collector
from sim_worker.sampling.hands import drawn_hand
from sim_worker.tasks.labels import Mix
from sim_worker.world.simulation.profiles import USUAL_VACUUM
from sim_worker.world.simulation.spec import SceneSpec

CUP = Gripper(kind="suction", cup_radius=0.01)


def drawn(seed: int, gripper: Gripper = CUP):
    return drawn_hand(gripper, SceneSpec(seed=seed, vary=["hands"]))


def test_cups_differ_and_are_told_in_part():
    hands = [drawn(seed) for seed in range(200)]
    assert drawn(7) == hands[7]
    for hand in hands:
        true, told = hand.true, hand.told
        assert true.seal_compliance is not None
        assert 0.06 <= true.seal_compliance / true.cup_radius <= 0.2201
        assert told in (true, true.model_copy(update={"seal_compliance": None}))
        if true.cup_moment is not None:
            assert 0.49 <= true.cup_moment / (USUAL_VACUUM * math.pi * true.cup_radius**3) <= 1.01
    assert len({hand.true.seal_compliance for hand in hands}) > 150
    assert 0.2 < np.mean([hand.told.seal_compliance is None for hand in hands]) < 0.4
    assert 0.4 < np.mean([hand.told.cup_moment is None for hand in hands]) < 0.6


def test_what_the_caller_says_of_the_cup_stays():
    given = CUP.model_copy(update={"seal_compliance": 0.001, "cup_moment": 0.05})
    for seed in range(20):
        assert drawn(seed, given).true == drawn(seed, given).told == given


@pytest.mark.parametrize(("gripper", "vary"), [(Gripper(), ["hands"]), (CUP, []), (CUP, ["cameras"])])
def test_what_does_not_vary_stays(gripper, vary):
    hand = drawn_hand(gripper, SceneSpec(seed=0, vary=vary))
    assert hand.true == hand.told == gripper


def test_a_collection_keeps_what_was_told_and_what_was_executed(tmp_path, monkeypatch):
    recipe = CollectionRecipe(
        seed=3, kinds=["single"], profiles=["standard"], object_set="train", objects_dir=None, counts=(3, 6),
        scenes_per_shard=1, mix=Mix(1, 3, 0, 0), feasible="suction", planner="suction", vary=["hands"], rgb=False, gripper=CUP,
    )  # fmt: skip
    collector, kept = Collector(recipe, tmp_path, tmp_path, None), []
    monkeypatch.setattr(collector.writer, "write", lambda rows: kept.extend(decode_outcome(row).meta for row in rows))
    for number in range(4):
        collector.shard(number)
    sealed = [meta for meta in kept if "compliance" in meta.details]
    assert len({meta.details["compliance"] for meta in sealed}) > 1
    for meta in sealed:
        told = meta.gripper.seal_compliance
        assert told in (None, meta.details["compliance"])
        if meta.gripper.cup_moment is not None and "moment" in meta.details:
            assert meta.details["moment"] == pytest.approx(meta.gripper.cup_moment, abs=1e-4)
