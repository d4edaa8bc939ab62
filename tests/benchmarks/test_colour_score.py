import numpy as np

from benchmarks.colour_score.__main__ import cross_validated, tempering_of, weights_of
from benchmarks.colour_score.trials import TRIED, Trials, try_scenes
from planning.rgb.ranking import RANK_WEIGHTS, RankWeights
from trainer_job.promotion.publish import REPOSITORY


def drawn(weights, count=4000):
    """Grasps that hold as likely as weights say, four of each scene."""
    random = np.random.default_rng(0)
    terms = random.normal(0, 2, (count, 4))
    numbers = np.arange(count)
    trials = Trials(terms, np.zeros(count), numbers // 4, numbers % 4 == 0, numbers // 4 % 2 == 1)
    return Trials(terms, (random.random(count) < 1 / (1 + np.exp(-trials.logits(weights)))).astype(float), *list_of(trials))


def list_of(trials):
    return trials.scene, trials.first, trials.photographic


def test_weights_that_made_the_outcomes_are_found():
    true = RankWeights(maps=0.3, holds=0.8, fits=0.0, things=0.5, intercept=-0.4)
    found = weights_of(drawn(true))
    for name in ("maps", "holds", "fits", "things", "intercept"):
        assert abs(getattr(found, name) - getattr(true, name)) < 0.12


def test_a_term_that_speaks_against_success_does_not_count():
    assert weights_of(drawn(RankWeights(maps=-0.5, holds=0.8, fits=0.2, things=0.5, intercept=0.0))).maps == 0


def test_what_is_promised_too_surely_is_lowered():
    trials = drawn(RankWeights(maps=0.2, holds=0.2, fits=0.2, things=0.2, intercept=0.0))
    sure = 3 * trials.logits(RankWeights(maps=0.2, holds=0.2, fits=0.2, things=0.2, intercept=0.0))
    slope, _ = tempering_of(sure, trials)
    assert 0.25 < slope < 0.42


def test_what_judges_a_scene_was_not_fitted_to_it():
    trials = drawn(RANK_WEIGHTS, 400)
    turned = np.where(trials.scene % 5 == 0, 1 - trials.held, trials.held)
    other = Trials(trials.terms, turned, *list_of(trials))
    inside = trials.scene % 5 == 0
    assert np.array_equal(cross_validated(trials)[0][inside], cross_validated(other)[0][inside])
    assert not np.array_equal(cross_validated(trials)[0][~inside], cross_validated(other)[0][~inside])


def test_scenes_are_tried_by_turns_and_read_back(tmp_path):
    trials = try_scenes(2, 0, "validation", REPOSITORY / "models")
    assert trials.terms.shape == (2 * TRIED, 4)
    assert trials.first.sum() == 2
    assert trials.photographic.tolist() == [False] * TRIED + [True] * TRIED
    logits = trials.logits(RANK_WEIGHTS)
    assert (logits[trials.first] >= logits.reshape(2, TRIED).max(1) - 1e-9).all()
    trials.write(tmp_path / "tried.npz")
    again = Trials.read(tmp_path / "tried.npz")
    np.testing.assert_array_equal(again.terms, trials.terms)
