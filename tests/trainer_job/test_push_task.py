"""What the value of pushes learns from, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from table_scenes import Box, camera, render

from grasp_client.contract import Outcome, Push, PushMeta, SceneRef
from shared.features.push import FEATURES
from shared.outcome_codec import build_outcome, encode_outcome
from shared.shards import ShardWriter
from trainer_job.data.examples import Examples, FeatureBatch
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.tasks import task_of_model
from trainer_job.tasks.push import PushTask, _own_states, choices, mirrored
from trainer_job.training.loop import train
from trainer_job.training.recipe import DataRecipe, load
from trainer_job.training.schedule import Schedule

VIEW = camera(240, 240, 300.0)
GOAL, NEIGHBOUR = Box(0.0, 0.0, 0.0, 0.05, 0.05, 0.05), Box(0.0, 0.05, 0.0, 0.05, 0.05, 0.05)
WITH, WITHOUT = render(VIEW, [GOAL, NEIGHBOUR]), render(VIEW, [NEIGHBOUR])
MASK = WITH < WITHOUT - 1e-6


def tip(x: float, y: float) -> list[list[float]]:
    pose = np.array([[0.0, 1, 0, x], [1, 0, 0, y], [0, 0, -1, 0.01], [0, 0, 0, 1]])
    return (np.linalg.inv(VIEW.pose) @ pose).tolist()


def outcome(number: int, x: float = -0.08, scene: int = 0, **fields: object) -> Outcome[PushMeta]:
    """A push along the base's x axis at the goal, from `x`."""
    meta = {
        "push": Push(start_camera=tip(x, 0.0), end_camera=tip(x + 0.1, 0.0), length=0.1),
        "camera": VIEW.intrinsics,
        "camera_pose": VIEW.pose.tolist(),
        "planner": "push",
        "goal": "cube",
        "quality_before": 0.25,
        "quality_after": 0.8,
        "moved": 0.02,
        "scene": SceneRef(seed=scene),
        **fields,
    }
    return build_outcome(PushMeta, f"w:{scene}:{number}", WITH, None, meta, {"goal": MASK})


@pytest.fixture(scope="module")
def task() -> PushTask:
    found = task_of_model("push-value")
    assert isinstance(found, PushTask)
    return found


def named(features: np.ndarray, name: str) -> float:
    return float(features[FEATURES.index(name)])


def test_a_push_is_seen_in_its_own_frame(task: PushTask) -> None:
    features, aux = task.features([outcome(0), outcome(1, x=-0.12)])
    assert features.shape == (2, *task.spec.shape)
    assert named(features[0], "goal_along") == pytest.approx(0.8, abs=0.05)
    assert named(features[1], "goal_along") == pytest.approx(1.2, abs=0.05)
    assert named(features[0], "goal_quality") == pytest.approx(0.25)
    assert aux[0, 0] == aux[1, 0] > 0
    other = outcome(2)
    other.images["goal"] = np.roll(other.images["goal"], 9, axis=1)
    assert task.features([other])[1][0, 0] != aux[0, 0]


def test_crops_are_seen_where_the_recipe_asks_for_them() -> None:
    recipe = load("push-value")
    wide = PushTask(recipe.model_copy(update={"parameters": {**recipe.parameters, "crop_width": 4}}))
    assert wide.spec != PushTask(recipe.model_copy(update={"parameters": {"hidden": 64, "members": 4}})).spec
    features, aux = wide.features([outcome(0)])
    assert features.shape == (1, *wide.spec.shape)
    network = wide.build()
    batch = FeatureBatch(*(torch.from_numpy(each).float() for each in (features, aux, np.ones(1, np.float32))))
    assert torch.isfinite(wide.loss(network, batch))
    assert wide.predict(network, batch)[1].shape == (1,)
    np.testing.assert_allclose(mirrored(mirrored(batch.features)), batch.features)


def test_what_is_on_the_left_is_on_the_right_in_the_mirror(task: PushTask) -> None:
    features = torch.from_numpy(task.features([outcome(0)])[0]).float()
    mirror = mirrored(features)
    assert mirror[0, FEATURES.index("goal_left")] == -features[0, FEATURES.index("goal_right")]
    assert mirror[0, FEATURES.index("ring_2")] == features[0, FEATURES.index("ring_6")]
    assert features[0, FEATURES.index("ring_2")] != features[0, FEATURES.index("ring_6")]
    same = [FEATURES.index(name) for name in ("goal_along", "ring_0", "ring_4", "length", "goal_quality")]
    assert torch.equal(mirror[:, same], features[:, same])
    assert torch.equal(mirrored(mirror), features)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"blocked": True}, "blocked"),
        ({"camera": None}, "no_metric_pose"),
        ({"push": Push(start_base=tip(0, 0), end_base=tip(0.1, 0), length=0.1)}, "no_metric_pose"),
    ],
)
def test_what_teaches_nothing_is_refused(task: PushTask, changes: dict[str, object], reason: str | None) -> None:
    assert task.refusal(outcome(0, **changes).meta.model_dump(mode="json")) == reason


def test_without_a_mask_nobody_knows_the_goal(task: PushTask) -> None:
    meta = outcome(0).meta.model_dump(mode="json")
    del meta["images"]["goal"]
    assert task.refusal(meta) == "image"


def test_a_stored_push_is_learned_with_the_quality_after_it(task: PushTask, tmp_path: Path) -> None:
    scenes = [outcome(i, x=-0.08 - 0.002 * i, scene=i, quality_after=0.1 + 0.02 * i) for i in range(40)]
    ShardWriter(tmp_path / "shards").write([encode_outcome(each) for each in scenes])
    entries = OutcomeIndex(tmp_path / "shards").refresh()
    assert [entry.label for entry in entries] == pytest.approx([each.meta.quality_after for each in scenes])
    data = task.read_records([tmp_path / "shards"], [], tmp_path / "cache", 1000)
    assert isinstance(data.training, Examples)
    learned = np.concatenate([data.training.labels, data.held_out.batch(np.arange(len(data.held_out))).labels.numpy()])
    assert sorted(learned) == pytest.approx(sorted(each.meta.quality_after for each in scenes), abs=1e-6)


def test_members_learn_from_shares_of_the_states_of_their_own() -> None:
    own = _own_states(torch.arange(0, 2_000_000, 997), 4)
    assert own.float().mean(1).tolist() == pytest.approx([0.75] * 4, abs=0.05)
    assert 0.45 < (own[0] & own[1]).float().mean() < 0.65


def test_a_recipe_can_draw_opposite_ends_of_pushes_alike(task: PushTask) -> None:
    data = Examples(np.zeros((10, 1)), np.array([0.9, 0.2] + 8 * [0.1], np.float32), np.zeros((10, 1)))
    network = task.build()
    assert task.sampling_weights(data, network) is None
    recipe = task.recipe.model_copy(update={"data": DataRecipe(positive_share=0.5)})
    weights = PushTask(recipe).sampling_weights(data, network)
    assert weights is not None
    assert weights.tolist() == pytest.approx([0.5] + 9 * [0.5 / 9])


def test_a_recipe_can_draw_by_the_rank_of_surprise(task: PushTask) -> None:
    random = np.random.default_rng(0)
    labels, features = np.array([1.0, 0.9, 0.0, 0.1], np.float32), random.normal(size=(4, len(FEATURES))).astype(np.float32)
    data, network = Examples(features, labels, np.zeros((4, 1))), task.build()
    told = torch.sigmoid(network(torch.from_numpy(features))).detach().numpy()
    order = np.argsort(-np.abs(labels - told))
    recipe = task.recipe.model_copy(update={"data": DataRecipe(rank_power=1.0)})
    weights = PushTask(recipe).sampling_weights(data, network)
    assert weights is not None
    assert weights[order].tolist() == pytest.approx([12 / 25, 6 / 25, 4 / 25, 3 / 25])
    both = PushTask(recipe.model_copy(update={"data": DataRecipe(rank_power=1.0, positive_share=0.5)}))
    shared = both.sampling_weights(data, network)
    assert shared is not None
    assert shared[:2].sum() == pytest.approx(0.5)
    assert (shared[0] > shared[1]) == (weights[0] > weights[1])


def test_a_choice_is_judged_among_the_pushes_of_its_state() -> None:
    qualities, states = np.array([0.9, 0.1, 0.2, 0.1, 0.2, 0.9]), np.array([1, 1, 2, 2, 3, 3.0])
    assert choices(qualities, np.array([1, 0, 0, 1, 1, 0.0]), states) == pytest.approx(
        {"states": 3, "chosen": 1 / 3, "random": 1 / 3, "best": 2 / 3}
    )
    assert choices(qualities, np.zeros(6), np.arange(6.0)) == {}


def test_it_learns_which_push_helps(task: PushTask) -> None:
    """The goal comes free where the push meets neighbours and not the goal: a rule that the features tell."""
    random = np.random.default_rng(0)
    features = random.normal(size=(400, len(FEATURES))).astype(np.float32)
    labels = 1 / (1 + np.exp(-4 * features[:, FEATURES.index("before_swept")]))
    states = np.repeat(np.arange(40.0), 10)[:, None].astype(np.float32)
    data = Examples(features, labels.astype(np.float32), states)
    torch.manual_seed(0)
    network = task.build()
    task.standardize(network, data)
    train(network, task, data, Schedule.of(task.recipe.model_copy(update={"epochs": 4, "min_steps": 80, "batch": 128})), 0)
    found = task.evaluate(network, data, torch.device("cpu"))
    assert found.figures["random"] + 0.3 < found.figures["chosen"]
    assert found.metrics()["auc"] > 0.93
