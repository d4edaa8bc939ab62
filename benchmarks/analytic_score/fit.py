"""Logistic regressions that give the weights of the analytic score and of its blend with the network."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize

from benchmarks.analytic_score.labels import NAMES, Labels
from planning.calibration import BlendWeights, blended_logits
from planning.jaw.search import JawScoreWeights
from trainer_job.evaluation.metrics import log_losses

RIDGE = 1e-4
"""Strength of the quadratic penalty on the weights of standardised features, beside the mean log loss."""
FOLDS = 5
LEAST = {"flat": 190.0, "turn": 6.0, "aside": 0.5 / 0.006, "offset": 45.0, "overlap": 0.1 / 0.020}
"""Costs and worths, in the units of the weights, below which labels do not decide. A closing jaw forgives much, so that untidy
grasps hold nearly as often; but with less than this the best grasp of a plain solid is no longer within 3 mm and 5 degrees of a
perfect one (tests/planning/test_jaw_analytic.py)."""
LEAST_SHARE = 0.6
"""What a unit of the score counts at least beside the network, for the same reason."""
SATURATIONS = (3.0, 4.0, 5.0, 6.0)


def fit(design: np.ndarray, offset: np.ndarray, success: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Weights (W,) of a logistic regression of success (N,) on design (N, W) beside an offset (N,), none below its
    `least` (W,); those without a bound are not penalised."""
    spread = design.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    scaled, penalised = design / spread, np.isfinite(least)

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = scaled @ weights + offset
        slope = (0.5 * (1 + np.tanh(0.5 * logits)) - success) @ scaled / len(success)
        loss = log_losses(success, logits).mean() + 0.5 * RIDGE * (weights[penalised] ** 2).sum()
        return loss, slope + RIDGE * weights * penalised

    bounds = [(bound, None) for bound in np.where(penalised, least * spread, -np.inf)]
    start = np.where(penalised, least * spread, 0.0)
    found: np.ndarray = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 5000}).x
    return found / spread


def fit_score(labels: Labels) -> JawScoreWeights:
    """The weights of the score that these labels ask for.

    The bounds make some costs larger than the labels do. So the score as a whole is calibrated afterwards (Platt 1999): its
    order stays, and its logistic function is the probability of success.
    """
    least = np.array([-np.inf if name == "intercept" else LEAST.get(name, 0.0) for name in NAMES])
    score = labels.features @ (weights := fit(labels.features, -labels.beyond, labels.success, least))
    shift, scale = fit(np.stack([np.ones_like(score), score], 1), -labels.beyond, labels.success, np.array([-np.inf, 0.0]))
    calibrated = scale * weights + shift * (np.array(NAMES) == "intercept")
    return JawScoreWeights(**dict(zip(NAMES, calibrated.tolist(), strict=True)))


def fit_blend(score: np.ndarray, labels: Labels) -> BlendWeights:
    """How scores (N,) and the network's logits make the probability of success together, of the grasps that `dense` ranks high:
    nobody is promised anything by the others."""
    score, labels = score[labels.on_policy], labels.pick(np.flatnonzero(labels.on_policy))
    design, least = np.stack([np.ones_like(score), score], 1), np.array([-np.inf, LEAST_SHARE])
    blends = []
    for saturation in SATURATIONS:
        constant, weight = fit(design, saturation * np.tanh(labels.network / saturation), labels.success, least)
        blends.append(BlendWeights(score=float(weight), neutral=float(-constant / weight), saturation=saturation))
    return min(blends, key=lambda blend: log_losses(labels.success, blended(score, labels, blend)).mean())


def blended(score: np.ndarray, labels: Labels, blend: BlendWeights) -> np.ndarray:
    """Logits (N,) of `dense`."""
    return blended_logits(torch.from_numpy(labels.network), torch.from_numpy(score), blend).numpy()


def cross_validated(score: np.ndarray, labels: Labels) -> np.ndarray:
    """Logits (N,) of `dense`, each by a blend fitted on the scenes of the other folds."""
    logits = np.zeros_like(score)
    for fold in range(FOLDS):
        inside, outside = (np.flatnonzero((labels.scene % FOLDS == fold) == each) for each in (True, False))
        blend = fit_blend(score[outside], labels.pick(outside))
        logits[inside] = blended(score[inside], labels.pick(inside), blend)
    return logits
