"""The network ranks what geometry proposes: calibration, batches, ties, missing models, and the choice of a planner."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from table_scenes import Box, camera, render

from grasp_client.contract import Gripper, PlanRequest
from grasp_client.observation import GraspPlanner, Observation
from planning.base import LoadedNetwork, Planner, PlannerError
from planning.calibration import BLEND, LEANING, blend, calibrated
from planning.discovery import choose, discover
from planning.jaw.analytic import AntipodalPlanner
from planning.jaw.learned import DensePlanner
from planning.local import local_planner
from planning.tilted.planner import TiltedPlanner
from shared.networks.dense import DenseScorer
from shared.registry import ModelCard, Registry, UnknownVersion

VIEW = camera(240, 320, 262.5)
BAR = Box(0.02, 0.01, 0.3, 0.14, 0.03, 0.04)
DEPTH = render(VIEW, [BAR, Box(-0.07, -0.06, 1.0, 0.05, 0.04, 0.03)])
REQUEST = PlanRequest(camera=VIEW.intrinsics, camera_pose=VIEW.pose.tolist())
ITEM = (Observation(depth=DEPTH), REQUEST)


def network(trained: bool, promise: dict | None = None) -> LoadedNetwork:
    torch.manual_seed(3)
    module = DenseScorer().eval()
    if trained:
        torch.nn.init.normal_(module.head[-1].weight, std=0.5)
    card = ModelCard(name="dense", architecture="dense", promise=promise or {})
    return LoadedNetwork("dense", 5, module, card, torch.device("cpu"))


def test_the_reply_names_model_and_version_and_is_sorted() -> None:
    [plan] = DensePlanner().plan_batch([ITEM], network(trained=True))
    assert plan.planner == "dense"
    assert plan.model is not None
    assert (plan.model.name, plan.model.version) == ("dense", 5)
    qualities = [grasp.quality for grasp in plan.grasps]
    assert qualities == sorted(qualities, reverse=True)
    assert len(set(qualities)) > 5
    assert plan.timings_ms["plan"] > 0


def test_an_untrained_network_keeps_the_analytic_order() -> None:
    [dense] = DensePlanner().plan_batch([ITEM], network(trained=False))
    [antipodal] = AntipodalPlanner().plan_batch([ITEM], None)
    assert np.allclose(dense.grasps[0].pose_base, antipodal.grasps[0].pose_base, atol=1e-6)
    score = torch.logit(torch.tensor([antipodal.grasps[0].quality], dtype=torch.float64))
    expected = torch.sigmoid(BLEND.score * (score - BLEND.neutral))
    assert dense.grasps[0].quality == pytest.approx(float(expected), abs=1e-5)
    assert all(0.0 < grasp.quality < antipodal.grasps[0].quality for grasp in dense.grasps)


def test_leaning_hands_are_judged_by_the_network_more_than_by_how_tidy_they_look() -> None:
    logits, scores = torch.tensor([1.0, 1.5]), torch.tensor([2.0, 0.0])
    leans = [torch.full((2,), math.radians(degrees)) for degrees in (0, 15, 30, 60)]
    straight, between, leaning, steep = (blend(logits, scores, lean) for lean in leans)
    assert torch.allclose(straight, blend(logits, scores))
    assert straight.argmax() == 0
    assert leaning.argmax() == 1
    assert torch.allclose(between, (straight + leaning) / 2, atol=1e-5)
    assert torch.allclose(steep, leaning)
    usual = torch.full((2,), LEANING.neutral)
    assert torch.allclose(torch.sigmoid(blend(logits, usual, leans[3])), torch.sigmoid(logits), atol=0.02)


def test_among_grasps_that_the_network_takes_for_equal_the_tidy_one_wins_and_else_the_network_decides() -> None:
    scores = torch.tensor([0.0, 2.0])
    assert blend(torch.tensor([6.5, 6.2]), scores).argmax() == 1
    assert blend(torch.tensor([2.0, 0.5]), scores).argmax() == 0
    assert torch.allclose(
        torch.sigmoid(blend(torch.tensor([-1.0, 1.0]), torch.full((2,), BLEND.neutral))),
        torch.sigmoid(torch.tensor([-1.0, 1.0])),
        atol=0.01,
    )


def test_a_batch_equals_its_parts_and_may_hold_an_empty_scene() -> None:
    empty = (Observation(depth=render(VIEW, [])), REQUEST)
    together = DensePlanner().plan_batch([ITEM, empty, ITEM], network(trained=True))
    [alone] = DensePlanner().plan_batch([ITEM], network(trained=True))
    assert together[1].grasps == []
    assert together[1].rejections["below_table"] > 0
    for plan in (together[0], together[2]):
        assert len(plan.grasps) == len(alone.grasps)
        assert np.allclose(plan.grasps[0].pose_base, alone.grasps[0].pose_base, atol=1e-6)
        assert plan.grasps[0].quality == pytest.approx(alone.grasps[0].quality, abs=1e-5)


def test_min_quality_is_counted() -> None:
    request = REQUEST.model_copy(update={"min_quality": 0.9})
    [plan] = DensePlanner().plan_batch([(Observation(depth=DEPTH), request)], network(trained=False))
    assert plan.grasps == []
    assert plan.rejections["low_quality"] > 0


def test_temperature_of_the_card_calibrates() -> None:
    logits = torch.tensor([-2.0, 0.0, 2.0])
    assert torch.allclose(calibrated(logits, {}), torch.sigmoid(logits))
    assert torch.allclose(calibrated(logits, {"kind": "temperature", "value": 2.0}), torch.sigmoid(logits / 2))
    with pytest.raises(ValueError, match="unknown calibration"):
        calibrated(logits, {"kind": "tarot"})


HALF_LESS_ONE = {"kind": "circumstances", "slope": 0.5, "offset": -1.0, "by": {}}


@pytest.mark.parametrize("planner", [DensePlanner(), TiltedPlanner()], ids=["dense", "tilted"])
def test_the_promise_of_the_card_is_made_of_the_blend_and_leaves_the_order(planner: Planner) -> None:
    [before] = planner.plan_batch([ITEM], network(trained=True))
    [after] = planner.plan_batch([ITEM], network(trained=True, promise=HALF_LESS_ONE))
    blended, promised = (torch.logit(torch.tensor([grasp.quality for grasp in plan.grasps])) for plan in (before, after))
    assert torch.allclose(promised, 0.5 * blended - 1, atol=1e-4)
    assert [grasp.pose_camera for grasp in after.grasps] == [grasp.pose_camera for grasp in before.grasps]


def test_the_promise_goes_by_what_the_request_tells() -> None:
    holes = np.where(np.random.default_rng(0).random(DEPTH.shape) < 0.1, 0, DEPTH)
    missing = {"kind": "circumstances", "slope": 1.0, "offset": 0.0}
    missing["by"] = {"missing": {"slope": 0.0, "offset": -20.0, "low": 0.0, "high": 0.3}}
    for depth, lost in ((DEPTH, 0.0), (holes, 2.0)):
        item = Observation(depth=depth), REQUEST
        [plain], [told] = (DensePlanner().plan_batch([item], network(True, promise)) for promise in (None, missing))
        logits = [torch.logit(torch.tensor(plan.grasps[0].quality)).item() for plan in (plain, told)]
        assert logits[0] - logits[1] == pytest.approx(lost, abs=0.3)


def test_the_map_promises_what_the_plan_does() -> None:
    view = camera(60, 80, 65.0)
    item = Observation(depth=render(view, [BAR])), REQUEST.model_copy(update={"camera": view.intrinsics})
    plain, promised = (DensePlanner().heatmap(*item, network(True, promise)) for promise in (None, HALF_LESS_ONE))
    asked = (plain > 0.01) & (plain < 0.99)
    expected = torch.sigmoid(0.5 * torch.logit(torch.from_numpy(plain[asked])) - 1)
    assert np.allclose(promised[asked], expected, atol=0.02)


def test_heatmap_is_in_the_pixels_of_the_image() -> None:
    for planner, loaded in ((AntipodalPlanner(), None), (DensePlanner(), network(trained=False))):
        maps = planner.heatmap(*ITEM, loaded)
        assert maps.shape == (16, 240, 320)
        assert maps.dtype == np.float32
        assert 0 <= maps.min() < maps.max() <= 1
        assert (maps.max(0)[DEPTH > 0.699] > 0).mean() < 0.02
        best = planner.plan_batch([ITEM], loaded)[0].grasps[0]
        u, v = (round(value) for value in best.center_px)
        assert maps[:, v - 3 : v + 4, u - 3 : u + 4].max() > 0.3
    bar = AntipodalPlanner().heatmap(Observation(depth=render(VIEW, [BAR])), REQUEST, None).max((1, 2))
    [plan] = AntipodalPlanner().plan_batch([(Observation(depth=render(VIEW, [BAR])), REQUEST)], None)
    difference = math.remainder(int(bar.argmax()) * math.pi / 16 - plan.grasps[0].angle, math.pi)
    assert abs(difference) < math.radians(12)


def test_no_model_is_told_as_such() -> None:
    with pytest.raises(PlannerError) as caught:
        DensePlanner().plan_batch([ITEM], None)
    assert caught.value.status == 503


def test_what_a_depth_planner_cannot_use_is_refused() -> None:
    colour = Observation(rgb=np.zeros((4, 4, 3), np.uint8))
    for observation, request, code in (
        (colour, REQUEST, "missing_image"),
        (ITEM[0], PlanRequest(gripper=Gripper(kind="suction")), "wrong_gripper"),
    ):
        with pytest.raises(PlannerError) as caught:
            local_planner("antipodal").plan(observation, request)
        assert (caught.value.status, caught.value.code) == (422, code)


def test_auto_takes_what_is_ready_and_fits() -> None:
    assert {"antipodal", "dense"} <= set(discover())
    assert choose(PlanRequest(), ITEM[0], {"antipodal", "dense"}) == "dense"
    assert choose(PlanRequest(), ITEM[0], {"antipodal"}) == "antipodal"
    assert choose(PlanRequest(planner="antipodal"), ITEM[0], {"dense"}) == "antipodal"
    with pytest.raises(PlannerError) as caught:
        choose(PlanRequest(planner="oracle"), ITEM[0], {"dense"})
    assert caught.value.status == 404
    with pytest.raises(PlannerError) as caught:
        choose(PlanRequest(), Observation(rgb=np.zeros((4, 4, 3), np.uint8)), {"antipodal", "dense"})
    assert caught.value.status == 422


def test_planners_in_process_follow_the_registry(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    with pytest.raises(UnknownVersion, match="no champion"):
        local_planner("dense", tmp_path)
    for _ in range(2):
        registry.publish("dense", save(DenseScorer().state_dict()), ModelCard(name="dense", architecture="dense"))
    registry.promote("dense", 2)
    for version, expected in ((None, 2), (1, 1)):
        planner = local_planner("dense", tmp_path, version)
        assert isinstance(planner, GraspPlanner)
        model = planner.plan(*ITEM).model
        assert model is not None
        assert model.version == expected
    assert local_planner("antipodal").plan(*ITEM).model is None
