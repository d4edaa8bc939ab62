"""How good predicted probabilities of success are: ranking, calibration, and intervals on rates. Pure functions of arrays.

labels: (N,) 0 or 1. probabilities: (N,) in 0..1. logits: (N,) any finite number.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit

CALIBRATION_BINS = 15
TEMPERATURES = (0.2, 10.0)
"""Bounds of the fitted temperature."""
LOG_TEMPERATURE_SPREAD = 0.5
"""Standard deviation of the prior on the logarithm of the temperature."""


def sigmoid(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities of logits / temperature, without overflow."""
    probabilities: np.ndarray = expit(np.asarray(logits, np.float64) / temperature)
    return probabilities


def log_losses(labels: np.ndarray, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """(N,) negative log-likelihood of each label, nats."""
    z = np.asarray(logits, np.float64) / temperature
    losses: np.ndarray = -log_expit(np.where(np.asarray(labels) > 0.5, z, -z))
    return losses


@dataclass(frozen=True)
class Evaluation:
    """What held-out examples say of a network. losses (N,): of each, nats; their mean is what the best epoch is chosen by.

    labels, logits (N,): of success; empty for a network that gives no probabilities of it. figures: of the task's own.
    circumstances (N, C): by which the logits may be calibrated (`shared.features.circumstances`); empty where a task has none.
    """

    losses: np.ndarray
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0))
    logits: np.ndarray = field(default_factory=lambda: np.zeros(0))
    figures: dict[str, float] = field(default_factory=dict)
    circumstances: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def loss(self) -> float:
        return float(self.losses.mean()) if len(self.losses) else math.nan

    def metrics(self, temperature: float = 1.0) -> dict[str, float]:
        """Of probabilities at a temperature, if there are any, and the task's own figures."""
        if len(self.labels) or not len(self.losses):
            return binary_metrics(self.labels, self.logits, temperature) | self.figures
        return {"n": float(len(self.losses)), "loss": self.loss, **self.figures}


def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """Temperature that minimises the log-loss (Guo et al. 2017, section 4.2); 1 without both kinds of labels.

    A normal prior on its logarithm, worth a few outcomes, keeps a small held-out set from being over-fitted.
    """
    labels = np.asarray(labels)
    if len(labels) == 0 or labels.min() == labels.max():
        return 1.0

    def objective(log_temperature: float) -> float:
        prior = 0.5 * (log_temperature / LOG_TEMPERATURE_SPREAD) ** 2
        return prior + float(log_losses(labels, logits, math.exp(log_temperature)).sum())

    low, high = (math.log(bound) for bound in TEMPERATURES)
    return float(math.exp(minimize_scalar(objective, bounds=(low, high), method="bounded").x))


@dataclass(frozen=True)
class Reliability:
    """Equal-width bins of the predicted probability; arrays of the bins that hold anything."""

    predicted: np.ndarray
    observed: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean |predicted - observed|, weighted by count."""
        if not self.count.sum():
            return float("nan")
        return float((np.abs(self.predicted - self.observed) * self.count).sum() / self.count.sum())


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> Reliability:
    """Predicted against observed success per bin."""
    index = np.minimum((np.asarray(probabilities) * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    held = count > 0
    predicted = np.bincount(index, probabilities, bins)[held] / count[held]
    observed = np.bincount(index, labels, bins)[held] / count[held]
    return Reliability(predicted, observed, count[held])


def binary_metrics(labels: np.ndarray, logits: np.ndarray, temperature: float = 1.0) -> dict[str, float]:
    """ap, auc, brier, ece, log_loss, base_rate, accuracy and n; those that need both kinds of labels are left out without."""
    labels = np.asarray(labels, np.float64)
    if not len(labels):
        return {"n": 0.0}
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score  # seconds to load

    probabilities = sigmoid(logits, temperature)
    metrics = {
        "n": float(len(labels)),
        "base_rate": float(labels.mean()),
        "brier": float(brier_score_loss(labels, probabilities, pos_label=1)),
        "ece": reliability(labels, probabilities).error,
        "log_loss": float(log_losses(labels, logits, temperature).mean()),
        "accuracy": float(np.mean((probabilities >= 0.5) == (labels > 0.5))),
    }
    if 0 < labels.mean() < 1:
        metrics["ap"] = float(average_precision_score(labels, probabilities))
        metrics["auc"] = float(roc_auc_score(labels, probabilities))
    return metrics
