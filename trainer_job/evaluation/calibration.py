"""Fits a calibration to held-out examples: one temperature, or slope and offset by the circumstances of each example."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from shared.features.circumstances import NAMES, slope_and_offset
from trainer_job.evaluation.metrics import Evaluation, fit_temperature, log_losses

SPREAD = 0.5
"""Standard deviation of the prior on every weight beside the slope's 1: a few examples in odd circumstances move little."""
FEWEST = 200
"""Examples below which one temperature is fitted."""


def fit_calibration(found: Evaluation) -> dict[str, Any]:
    """The card's `calibration` of what held-out examples say of a network; empty where it gives no probabilities."""
    labels = found.labels
    if not len(labels):
        return {}
    if len(labels) < FEWEST or not found.circumstances.size or labels.min() == labels.max():
        return {"kind": "temperature", "value": fit_temperature(labels, found.logits)}
    z, low, high = found.logits, found.circumstances.min(0), found.circumstances.max(0)
    terms = np.column_stack([z, np.ones_like(z), z[:, None] * found.circumstances, found.circumstances])
    prior = np.zeros(terms.shape[1])
    prior[0] = 1.0

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits, off = terms @ weights, (weights - prior) / SPREAD
        loss = float(log_losses(labels, logits).sum()) + 0.5 * float(off @ off)
        return loss, terms.T @ (expit(logits) - labels) + off / SPREAD

    weights = minimize(objective, prior, jac=True, method="L-BFGS-B").x.tolist()
    count = found.circumstances.shape[1]
    slopes, offsets = weights[2 : 2 + count], weights[2 + count :]
    by = {
        name: {"slope": slope, "offset": offset, "low": float(least), "high": float(most)}
        for name, slope, offset, least, most in zip(NAMES, slopes, offsets, low, high, strict=True)
    }
    return {"kind": "circumstances", "slope": weights[0], "offset": weights[1], "by": by}


def as_served(found: Evaluation, calibration: dict[str, Any]) -> Evaluation:
    """The same with calibrated logits."""
    if calibration.get("kind") == "temperature":
        return replace(found, logits=found.logits / float(calibration["value"]))
    if calibration.get("kind") != "circumstances":
        return found
    given = found.circumstances if found.circumstances.size else np.zeros((len(found.logits), 0))
    slope, offset = slope_and_offset(calibration, given)
    return replace(found, logits=found.logits * slope + offset)
