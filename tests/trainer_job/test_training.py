"""Training itself: it learns, it repeats, it stops when told, and its input is disturbed as intended."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from block_world import block_outcome
from records import store

from shared.features.hand_frame import SPAN
from trainer_job.data.examples import Examples, FeatureBatch
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.data.replay_buffer import ReplayBuffer
from trainer_job.evaluation.metrics import binary_metrics
from trainer_job.tasks import task_of_model
from trainer_job.training.loop import BatchSampler, Interrupted, NotFinite, new_share, train
from trainer_job.training.schedule import Schedule

TASK = task_of_model("dense")
CPU = torch.device("cpu")


def schedule(**changes: int) -> Schedule:
    return replace(Schedule.of(TASK.recipe), **changes)


TINY = schedule(epochs=1, batch=16, min_steps=8)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    folder = tmp_path_factory.mktemp("blocks")
    store(folder / "shards", [block_outcome(i) for i in range(80)])
    library = ReplayBuffer(OutcomeIndex(folder / "shards"), FeatureCache(folder / "features", TASK))
    library.refresh()
    return library.examples(np.arange(len(library)))


def build(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return TASK.build()


def augmented(features: torch.Tensor) -> torch.Tensor:
    batch = FeatureBatch(features, torch.zeros(len(features), 0), torch.zeros(len(features)))
    return TASK.augment(batch, torch.Generator().manual_seed(0)).features


def logits(network: torch.nn.Module, examples: Examples) -> np.ndarray:
    return TASK.evaluate(network, examples, CPU).logits


def test_it_learns_where_the_block_must_be(blocks: Examples) -> None:
    learned, test = (
        Examples(blocks.features[part], blocks.labels[part], blocks.aux[part]) for part in (slice(60), slice(60, 80))
    )
    network = build()
    history = train(network, TASK, learned, schedule(epochs=4, batch=16, min_steps=40), seed=0)
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert history.steps[-1] == 40
    assert binary_metrics(test.labels, logits(network, test))["auc"] > 0.9
    assert not network.training


def test_the_same_seed_gives_the_same_weights(blocks: Examples) -> None:
    networks = [build() for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        train(network, TASK, blocks, TINY, seed)
    found = [logits(network, blocks) for network in networks]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert np.abs(found[0] - found[2]).max() > 1e-3


def spoilt(examples: Examples, count: int) -> Examples:
    features = examples.features.copy()
    features[:count] = np.nan
    return Examples(features, examples.labels, examples.aux)


def test_steps_without_a_finite_loss_are_skipped_and_counted(blocks: Examples) -> None:
    network = build()
    history = train(network, TASK, spoilt(blocks, 1), schedule(epochs=12, batch=8, min_steps=0), seed=0)
    assert history.skipped == 12
    assert np.isfinite(history.loss).all()
    assert np.isfinite(logits(network, blocks)).all()


@pytest.mark.filterwarnings("error:Detected call of `lr_scheduler")
def test_a_round_with_too_many_skipped_steps_is_given_up(blocks: Examples) -> None:
    with pytest.raises(NotFinite, match="not finite"):
        train(build(), TASK, spoilt(blocks, 40), TINY, seed=0)


def test_weights_that_are_not_finite_are_given_up(blocks: Examples) -> None:
    network = build()
    with torch.no_grad():
        next(iter(network.buffers())).fill_(float("nan"))
    with pytest.raises(NotFinite, match="not finite in"):
        train(network, TASK, blocks, TINY, seed=0)


def test_it_stops_when_told(blocks: Examples) -> None:
    with pytest.raises(Interrupted, match="step 1 of 8"):
        train(build(), TASK, blocks, TINY, seed=0, stopping=lambda: True)


def test_a_small_set_is_passed_over_more_often() -> None:
    small = schedule(epochs=4, batch=100, min_steps=50)
    assert small.steps(200) == 50
    assert small.steps(90) == 30
    assert small.steps(10_001) == 404


def test_a_champion_weighs_as_much_as_it_has_learned_from() -> None:
    assert new_share(300, 300) == new_share(1_000, 50_000) == new_share(1_000, 0) == 0.5
    assert new_share(300, 100) == 0.75
    assert new_share(100, 50_000) == pytest.approx(100 / 1_100)


def test_batches_cover_the_set_before_they_repeat() -> None:
    order = BatchSampler(10, 5, seed=0)
    assert sorted(np.concatenate([order.next(), order.next()])) == list(range(10))
    assert len(BatchSampler(3, 128, seed=0).next()) == 3
    with pytest.raises(ValueError, match="at least 2"):
        BatchSampler(1, 8, seed=0)


def test_noise_is_of_millimetres_and_leaves_the_other_channels(blocks: Examples) -> None:
    features = torch.from_numpy(blocks.features.astype(np.float32))
    disturbed = augmented(features)
    assert disturbed.shape == features.shape
    flat = torch.zeros(200, *TASK.spec.shape)
    noise = augmented(flat)[:, 0] * SPAN
    assert 0.0005 < float(noise.std()) < 0.003
    assert float(disturbed[:, 0].abs().max()) <= 1
    np.testing.assert_allclose(disturbed[:, 2].sum((1, 2)), features[:, 2].sum((1, 2)), rtol=1e-3)


def test_mirrored_features_are_as_likely_as_plain_ones() -> None:
    half = torch.zeros(400, *TASK.spec.shape)
    half[:, 0, :, 30:] = 0.5
    mirrored = augmented(half)[:, 0, :, :10].mean((1, 2)) > 0.2
    assert 0.4 < float(mirrored.float().mean()) < 0.6


def test_predicting_nothing_gives_nothing() -> None:
    empty = Examples(np.zeros((0, *TASK.spec.shape), np.float16), np.zeros(0, np.float32), np.zeros((0, 0), np.float32))
    assert TASK.evaluate(build(), empty, CPU).metrics() == {"n": 0.0}
