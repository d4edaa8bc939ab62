"""Planners that share a network share its passes, and answer as if they were alone."""

from __future__ import annotations

import pytest
import torch
from gqcnn_scenes import BLOCK_CAMERA, SMALL, block, loaded
from table_scenes import Box, camera, render
from torch import Tensor, nn

from grasp_client.contract import Gripper, PlanRequest
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, Planner, PlannerError
from planning.batched_inference import InferenceSteps, NetworkCall, between_passes, plan_batched, run_batched
from planning.ensemble import EnsemblePlanner
from planning.gqcnn.fc_jaw import FCGQCNNPlanner
from planning.gqcnn.jaw import GQCNNPlanner
from planning.jaw.analytic import AntipodalPlanner
from planning.jaw.learned import DensePlanner
from shared.networks.dense import DenseScorer
from shared.registry import ModelCard

VIEW = camera(240, 320, 262.5)
BAR = Box(0.02, 0.01, 0.3, 0.14, 0.03, 0.04)
ITEM = (
    Observation(depth=render(VIEW, [BAR])),
    PlanRequest(camera=VIEW.intrinsics, gripper=Gripper(max_width=0.08, cup_radius=0.01)),
)


class Counted(nn.Module):
    """A network that remembers how many rows each pass had."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module, self.rows = module, []

    def forward(self, *inputs: Tensor) -> Tensor:
        self.rows.append(len(inputs[0]))
        return self.module(*inputs)


def counted(name: str, module: nn.Module) -> LoadedNetwork:
    return LoadedNetwork(name, 1, Counted(module), ModelCard(name=name, architecture=name), torch.device("cpu"))


def dense_network() -> LoadedNetwork:
    torch.manual_seed(3)
    module = DenseScorer().eval()
    nn.init.normal_(module.head[-1].weight, std=0.5)
    return counted("dense", module)


def test_dense_and_the_jaw_of_the_ensemble_are_one_pass() -> None:
    network = dense_network()
    ensemble = EnsemblePlanner()
    ensemble.networks = lambda model: network if model == "dense" else None  # type: ignore[method-assign]
    asked: list[tuple[Planner, LoadedNetwork | None, tuple]] = [
        (DensePlanner(), network, ITEM), (ensemble, None, ITEM), (AntipodalPlanner(), None, ITEM)
    ]  # fmt: skip
    together = plan_batched(asked)
    assert len(network.module.rows) == 1
    alone = [planner.plan_batch([item], found)[0] for planner, found, item in asked]
    assert sum(network.module.rows[1:]) == network.module.rows[0]
    for joint, single in zip(together, alone, strict=True):
        assert joint.planner == single.planner
        assert joint.rejections == single.rejections
        assert [grasp.center_px for grasp in joint.grasps] == [grasp.center_px for grasp in single.grasps]
        assert [g.quality for g in joint.grasps] == pytest.approx([g.quality for g in single.grasps], abs=1e-5)
        assert joint.timings_ms["plan"] > 0


def test_gqcnn_and_fc_gqcnn_meet_in_the_passes_on_crops() -> None:
    network = loaded("gqcnn4", SMALL)
    item = (block(), PlanRequest(camera=BLOCK_CAMERA, seed=2))
    passes: list[int] = []
    network.module.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
    together = plan_batched([(GQCNNPlanner(), network, item), (FCGQCNNPlanner(), network, item)])
    joint, passes[:] = list(passes), []
    alone = [planner.plan_batch([item], network)[0] for planner in (GQCNNPlanner(), FCGQCNNPlanner())]
    assert sum(joint) == sum(passes)
    assert len(joint) <= len(passes)
    for one, other in zip(together, alone, strict=True):
        assert one.grasps
        assert [grasp.quality for grasp in one.grasps] == pytest.approx([grasp.quality for grasp in other.grasps], abs=1e-4)


def test_passes_have_at_most_the_rows_that_are_worth_it_and_answers_go_to_who_asked() -> None:
    network = counted("rows", nn.Flatten())

    def work(start: float, count: int) -> InferenceSteps[list[float]]:
        found: list[float] = []
        for step in range(2):
            rows = torch.arange(count, dtype=torch.float32)[:, None] + start + 100 * step
            found += (yield NetworkCall(network, (rows,), most=4))[:, 0].tolist()
        return found

    results = [value for value, _ in run_batched([work(0, 3), work(10, 5), work(20, 1)])]
    assert results == [[0, 1, 2, 100, 101, 102], [10, 11, 12, 13, 14, 110, 111, 112, 113, 114], [20, 120]]
    assert network.module.rows == [4, 4, 1, 4, 4, 1]


def test_rows_of_another_shape_are_another_pass() -> None:
    network = counted("rows", nn.Flatten())

    def work(width: int) -> InferenceSteps[int]:
        return (yield NetworkCall(network, (torch.zeros(2, width),))).shape[1]

    assert [value for value, _ in run_batched([work(3), work(5), work(3)])] == [3, 5, 3]
    assert network.module.rows == [4, 2]


def test_one_that_cannot_be_answered_says_so() -> None:
    network = dense_network()
    blind = (Observation(rgb=torch.zeros(4, 4, 3).byte().numpy()), PlanRequest())
    with pytest.raises(PlannerError, match="needs depth"):
        plan_batched([(DensePlanner(), network, ITEM), (DensePlanner(), network, blind)])


def test_others_may_go_first_between_the_steps_of_two_plans() -> None:
    """Plans that share a batch stop once each, so that what is quick waits for one of them and not for all."""
    done: list[str] = []

    def work(name: str) -> InferenceSteps[str]:
        done.append(name)
        return name
        yield

    token = between_passes.set(lambda: done.append("other"))
    try:
        run_batched([work("a"), work("b")])
    finally:
        between_passes.reset(token)
    assert done == ["other", "a", "other", "b"]


@pytest.mark.parametrize(("planner", "kind"), [(GQCNNPlanner(), "gqcnn"), (FCGQCNNPlanner(), "gqcnn4")])
def test_a_pass_that_takes_long_lets_others_in_between_its_layers(planner: Planner, kind: str) -> None:
    network, order = loaded(kind), list[str]()
    network.module.register_forward_hook(lambda *_: order.append("pass"))
    token = between_passes.set(lambda: order.append("other"))
    try:
        plan_batched([(planner, network, (block(), PlanRequest(camera=BLOCK_CAMERA, seed=2)))])
    finally:
        between_passes.reset(token)
    inside = "".join(each[0] for each in order).split("p")[:-1]
    assert inside
    assert all(len(others) >= 4 for others in inside)
