"""Calibration by circumstances: promises are kept in a bin and from a tilted camera too, and old cards go on."""

import math

import numpy as np
import pytest
import torch

from grasp_client.contract import CameraIntrinsics, Gripper
from planning.calibration import calibrated, calibrated_logits
from shared.features.circumstances import NAMES, circumstances
from trainer_job.evaluation.calibration import FEWEST, as_served, by_circumstances, carried_over, corrected, fit_calibration
from trainer_job.evaluation.metrics import Evaluation, log_losses, reliability, sigmoid

CAMERA = CameraIntrinsics(fx=420.0, fy=420.0, cx=119.5, cy=119.5)


def found(count: int = 6000, seed: int = 0) -> Evaluation:
    """Logits that are honest over the table, and two too high in a bin."""
    rng = np.random.default_rng(seed)
    told = np.zeros((count, len(NAMES)))
    told[:, 0], told[:, 3] = rng.uniform(0, 0.7, count), rng.random(count) < 0.4
    logits = rng.normal(1.0, 1.5, count)
    labels = (rng.random(count) < sigmoid(logits - 2 * told[:, 3])).astype(float)
    return Evaluation(log_losses(labels, logits), labels, logits, circumstances=told)


def test_promises_are_kept_in_the_bin_and_on_the_table():
    fit, fresh = fit_calibration(found()), found(seed=1)
    assert fit["kind"] == "circumstances"
    served = as_served(fresh, fit)
    one = as_served(fresh, {"kind": "temperature", "value": 1.0})
    for within in (0, 1):
        rows = fresh.circumstances[:, 3] == within
        assert reliability(served.labels[rows], sigmoid(served.logits[rows]), 10).error < 0.05
    in_bin = fresh.circumstances[:, 3] == 1
    assert reliability(one.labels[in_bin], sigmoid(one.logits[in_bin]), 10).error > 0.2


def test_what_the_server_applies_is_what_was_fitted():
    evaluation = found(1000)
    fit = fit_calibration(evaluation)
    served = as_served(evaluation, fit)
    for row in (0, 7, 400):
        logits = torch.tensor([evaluation.logits[row]])
        applied = calibrated_logits(logits, fit, evaluation.circumstances[row : row + 1])
        assert applied.item() == pytest.approx(served.logits[row], abs=1e-6)


def test_circumstances_that_were_never_seen_count_no_more_than_the_oddest_seen():
    fit, logits = fit_calibration(found()), torch.zeros(1)
    steep, steeper = (np.array([[tilt, 0.0, 0.0, 0.0, 0.0, 0.0]]) for tilt in (0.7, 1.5))
    assert calibrated(logits, fit, steeper).item() == pytest.approx(calibrated(logits, fit, steep).item(), abs=1e-3)


def test_a_better_logit_stays_better_and_old_cards_stay_as_they_are():
    fit = fit_calibration(found()) | {"slope": -3.0}
    assert (calibrated(torch.tensor([0.0, 1.0]), fit, np.array(2 * [[0.3, 0, 0, 1, 0, 0]])).diff() > 0).all()
    old = calibrated(torch.tensor([1.0]), {"kind": "temperature", "value": 2.0}, np.array([[0.3, 0, 0, 1, 0, 0]]))
    assert old.item() == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert calibrated_logits(torch.tensor([1.0]), {}).item() == 1.0
    with pytest.raises(ValueError, match="unknown calibration"):
        calibrated(torch.zeros(1), {"kind": "horoscope"})


def test_few_examples_fit_one_temperature():
    assert fit_calibration(found(FEWEST - 1))["kind"] == "temperature"
    assert fit_calibration(Evaluation(np.ones(3))) == {}


def test_promises_are_kept_at_every_approach_and_each_grasp_has_its_own():
    """A network that promises two too much at 60 degrees, and nothing too much straight down."""
    rng, both = np.random.default_rng(0), []
    for _ in range(2):
        told, logits = np.zeros((6000, len(NAMES))), rng.normal(1.0, 1.5, 6000)
        told[:, 5] = np.where(rng.random(6000) < 0.5, 0.0, math.radians(60))
        labels = (rng.random(6000) < sigmoid(logits - 2 * (told[:, 5] > 0))).astype(float)
        both.append(Evaluation(log_losses(labels, logits), labels, logits, circumstances=told))
    fit, fresh = fit_calibration(both[0]), both[1]
    served = calibrated(torch.from_numpy(fresh.logits), fit, fresh.circumstances).numpy()
    for rows in (fresh.circumstances[:, 5] == 0, fresh.circumstances[:, 5] > 0):
        assert reliability(fresh.labels[rows], served[rows], 10).error < 0.05
    of_old_cards = {**fit, "by": {name: of for name, of in fit["by"].items() if name != "approach"}}
    assert calibrated(torch.zeros(2), of_old_cards, fresh.circumstances[:2]).shape == (2,)


def test_a_request_tells_tilt_distance_pitch_bin_and_hand_and_a_grasp_its_approach():
    depth = np.full((240, 240), 0.35, np.float32)
    depth[:20] = 0
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    tilt = math.radians(30)
    tilted = pose.copy()
    tilted[1:3, 1:3] = [[-math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), -math.cos(tilt)]]
    usual = dict(zip(NAMES, circumstances(depth, CAMERA, pose, Gripper(), False, [0.0])[0], strict=True))
    [one, two] = circumstances(depth, CAMERA, tilted, Gripper(max_width=0.01), True, [0.5, 1.0])
    other = dict(zip(NAMES, one, strict=True))
    assert other["approach"] == 0.5
    assert two.tolist() == [*one[:5].tolist(), 1.0, other["missing"]]
    assert usual["tilt"] == usual["bin"] == usual["hand"] == usual["approach"] == 0
    assert usual["distance"] == pytest.approx(math.log(0.5))
    assert usual["pitch"] == pytest.approx(math.log(0.35 / 420 / 0.0017), abs=1e-5)
    assert other["tilt"] == pytest.approx(tilt, abs=1e-5)
    assert other["bin"] == 1
    assert other["hand"] == pytest.approx(math.log(1 / 8))
    nothing = circumstances(np.zeros((8, 8), np.float32), CAMERA, None, Gripper(kind="suction"), False, [0.0])
    assert nothing[0, :2].tolist() == [0.0, 0.0]


def test_what_is_missing_of_a_picture_is_told_but_not_what_no_reading_frames():
    depth = np.full((240, 240), 0.35, np.float32)
    depth[:20], depth[:, :8] = 0, 0
    assert circumstances(depth, CAMERA, None, Gripper(), False, [0.0])[0, NAMES.index("missing")] == 0
    depth[100:160, 100:160] = 0
    share = 60 * 60 / (220 * 232)
    told = circumstances(depth, CAMERA, None, Gripper(), False, [0.0, 1.0])[:, NAMES.index("missing")]
    assert told == pytest.approx([share, share], abs=0.01)


@pytest.mark.parametrize("kind", ["circumstances", "temperature", "none"])
def test_a_calibration_that_is_carried_over_says_of_the_same_examples_what_it_said(kind):
    champion = found()
    mine = {"circumstances": fit_calibration(champion), "temperature": {"kind": "temperature", "value": 2.0}, "none": {}}[kind]
    moved = Evaluation(champion.losses, champion.labels, 2 * champion.logits + 1, circumstances=champion.circumstances)
    carried = carried_over(mine, champion, moved)
    before, after = as_served(champion, mine).logits, as_served(moved, carried).logits
    assert np.abs(after - before).max() < 0.2
    assert np.abs(as_served(moved, mine).logits - before).max() > 1


def test_a_promise_keeps_what_the_first_of_each_plan_hold_where_these_count_more():
    rng = np.random.default_rng(0)
    first = rng.random(4000) < 0.2
    logits = np.full(4000, 1.0)
    labels = (rng.random(4000) < np.where(first, 0.9, 0.6)).astype(float)
    examples = Evaluation(log_losses(labels, logits), labels, logits, circumstances=np.zeros((4000, len(NAMES))))
    told = [sigmoid(as_served(examples, by_circumstances(examples, np.where(first, k, 1.0))).logits)[0] for k in (1.0, 40.0)]
    assert told[0] == pytest.approx(0.66, abs=0.03)
    assert told[1] == pytest.approx(0.87, abs=0.03)


def test_a_promise_follows_what_came_of_it():
    promise, blend = fit_calibration(found()), found(seed=1)
    promised = sigmoid(as_served(blend, promise).logits)
    kept = (np.random.default_rng(2).random(len(promised)) < sigmoid(as_served(blend, promise).logits - 1.0)).astype(float)
    for labels, error in ((kept, 0.03), (np.zeros(0), None)):
        now = corrected(promise, promised[: len(labels)], labels)
        said = sigmoid(as_served(blend, now).logits)
        if error is None:
            assert np.allclose(said, promised, atol=1e-3)
        else:
            assert reliability(labels, promised).error > 0.1
            assert reliability(labels, said).error < error
