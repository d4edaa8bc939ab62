"""Jaw and suction in one answer: both sizes of the gripper are read, and each grasp says what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from suction_scenes import item
from table_scenes import Box, camera

from grasp_client.contract import GraspPlan, Gripper, PlanRequest
from grasp_client.observation import Observation
from planning.base import PlannerError
from planning.ensemble import EnsemblePlanner
from planning.jaw.analytic import AntipodalPlanner
from planning.local import local_planner
from planning.suction.analytic import SuctionPlanner
from shared.networks.suction_dense import SuctionScorer
from shared.registry import ModelCard, Registry

VIEW = camera(480, 640, 525.0)
BAR, SLAB = Box(0.07, 0.01, 0.3, 0.12, 0.02, 0.04), Box(-0.08, 0.0, 0.5, 0.13, 0.12, 0.03)
BOTH = Gripper(max_width=0.08, cup_radius=0.015)


def plan(solids: list[Box], gripper: Gripper = BOTH, **options: object) -> GraspPlan:
    [answer] = EnsemblePlanner().plan_batch([item(VIEW, list(solids), gripper, **options)], None)
    return answer


def test_each_thing_gets_the_tool_that_can_hold_it() -> None:
    answer = plan([BAR, SLAB], n_grasps=200)
    best = {grasp.kind: grasp.center_px[0] for grasp in reversed(answer.grasps)}
    assert best["parallel_jaw"] == pytest.approx(320 + 525 * BAR.x / 0.7, abs=50)
    assert best["suction"] == pytest.approx(320 + 525 * SLAB.x / 0.7, abs=50)
    assert answer.planner == "ensemble"
    assert answer.model is None


def test_it_is_the_union_of_both_plans_best_first() -> None:
    answer = plan([BAR, SLAB], n_grasps=7)
    alone = [
        grasp
        for planner, kind in ((AntipodalPlanner(), "parallel_jaw"), (SuctionPlanner(), "suction"))
        for plan in planner.plan_batch([item(VIEW, [BAR, SLAB], BOTH.model_copy(update={"kind": kind}), n_grasps=7)], None)
        for grasp in plan.grasps
    ]
    expected = sorted((grasp.quality for grasp in alone), reverse=True)[:7]
    assert [grasp.quality for grasp in answer.grasps] == pytest.approx(expected)
    assert [grasp.width is None for grasp in answer.grasps] == [grasp.kind == "suction" for grasp in answer.grasps]


@pytest.mark.parametrize("kind", ["parallel_jaw", "suction"])
def test_the_kind_that_is_sent_does_not_matter(kind: str) -> None:
    as_sent = plan([BAR, SLAB], BOTH.model_copy(update={"kind": kind}))
    assert [grasp.kind for grasp in as_sent.grasps] == [grasp.kind for grasp in plan([BAR, SLAB]).grasps]


def test_refusals_of_both_are_counted() -> None:
    rejections = plan([BAR, SLAB]).rejections
    assert {"too_wide", "over_edge"} <= set(rejections)


def test_an_empty_table_has_an_empty_answer() -> None:
    answer = plan([])
    assert answer.grasps == []
    assert sum(answer.rejections.values()) > 0


def test_colour_alone_is_refused() -> None:
    observation, request = item(VIEW, [BAR], BOTH)
    with pytest.raises(PlannerError, match="depth"):
        EnsemblePlanner().plan_batch([(Observation(rgb=torch.zeros(4, 4, 3).byte().numpy()), request)], None)
    assert isinstance(request, PlanRequest)
    assert observation.depth is not None


def test_loaded_networks_rank_in_place_of_geometry(tmp_path: Path) -> None:
    torch.manual_seed(0)
    registry = Registry(tmp_path)
    card = ModelCard(name="suction-dense", architecture="suction-dense")
    registry.promote("suction-dense", registry.publish("suction-dense", save(SuctionScorer().state_dict()), card))
    answer = local_planner("ensemble", tmp_path).plan(*item(VIEW, [BAR, SLAB], BOTH, n_grasps=50))
    of_cups = [grasp.quality for grasp in answer.grasps if grasp.kind == "suction"]
    alone = BOTH.model_copy(update={"kind": "suction"})
    ranked = local_planner("suction_dense", tmp_path).plan(*item(VIEW, [BAR, SLAB], alone, n_grasps=50))
    assert of_cups == pytest.approx([grasp.quality for grasp in ranked.grasps][: len(of_cups)])
    assert len(of_cups) > 3
    assert {grasp.quality for grasp in answer.grasps if grasp.kind == "parallel_jaw"} != {0.5}
