"""Fits a calibration to held-out examples: one temperature, or slope and offset by the circumstances of each example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from shared.features.circumstances import LEAST_SLOPE, NAMES, slope_and_offset
from trainer_job.evaluation.metrics import Evaluation, fit_temperature, log_losses

SPREAD = 0.5
"""Standard deviation of the priors on slope and offset, which are 1 and 0: a few examples move little."""
REACH = 1.0
"""The same of what a circumstance changes from its least to its greatest value."""
LEAST = 1e-6
"""Qualities count as if they were at least this far from 0 and 1."""
FEWEST = 200
"""Examples below which one temperature is fitted."""


def fit_calibration(found: Evaluation) -> dict[str, Any]:
    """The card's `calibration` of what held-out examples say of a network; empty where it gives no probabilities."""
    labels = found.labels
    if not len(labels):
        return {}
    if len(labels) < FEWEST or not found.circumstances.size or labels.min() == labels.max():
        return {"kind": "temperature", "value": fit_temperature(labels, found.logits)}
    return by_circumstances(found, np.ones_like(found.logits))


def by_circumstances(found: Evaluation, weights: np.ndarray, among: Sequence[str] = NAMES) -> dict[str, Any]:
    """Slope and offset of the logits by the circumstances `among` all, of examples that count `weights` (N,) each."""
    names = [name for name in NAMES if name in among]
    z, told = found.logits[:, None], found.circumstances[:, [NAMES.index(name) for name in names]]
    low, high = told.min(0), told.max(0)
    reach = REACH / np.where(high > low, high - low, 1.0)
    spread = np.concatenate([[SPREAD, SPREAD], reach, reach])
    fitted = _regress(np.column_stack([z, np.ones_like(z), z * told, told]), found.labels, weights, spread)
    slopes, offsets = fitted[2 : 2 + len(names)], fitted[2 + len(names) :]
    by = {
        name: {"slope": slope, "offset": offset, "low": float(least), "high": float(most)}
        for name, slope, offset, least, most in zip(names, slopes, offsets, low, high, strict=True)
    }
    return {"kind": "circumstances", "slope": fitted[0], "offset": fitted[1], "by": by}


def _regress(terms: np.ndarray, labels: np.ndarray, weights: np.ndarray, spread: np.ndarray) -> list[float]:
    """What each of the terms (N, T) counts in the logit of success; the first of them is a logit that may be honest.

    spread (T,): standard deviations of the priors, about 1 for the first and 0 for the others.
    """
    prior = np.zeros(terms.shape[1])
    prior[0] = 1.0

    def objective(counts: np.ndarray) -> tuple[float, np.ndarray]:
        logits, off = terms @ counts, (counts - prior) / spread
        loss = float((weights * log_losses(labels, logits)).sum()) + 0.5 * float(off @ off)
        return loss, terms.T @ (weights * (expit(logits) - labels)) + off / spread

    fitted: list[float] = minimize(objective, prior, jac=True, method="L-BFGS-B").x.tolist()
    return fitted


def carried_over(calibration: dict[str, Any], champion: Evaluation, candidate: Evaluation) -> dict[str, Any]:
    """A champion's calibration for a candidate's logits, which the same held-out examples bring to the champion's scale.

    What a planner makes of the champion's calibrated logits holds for the candidate's then, whatever it was fitted to. A
    calibration fitted anew on grasps that a planner chose would count their choice a second time.
    """
    one, spread = np.ones(len(champion.labels)), np.full(2, SPREAD)
    (slope, offset), (scale, shift) = (
        _regress(np.column_stack([each.logits, one]), each.labels, one, spread) for each in (champion, candidate)
    )
    slope, scale = max(slope, LEAST_SLOPE), max(scale, LEAST_SLOPE)
    times, plus = scale / slope, (shift - offset) / slope
    if calibration.get("kind") != "circumstances":
        through = 1 / float(calibration.get("value", 1.0))
        return {"kind": "circumstances", "slope": times * through, "offset": plus * through, "by": {}}

    def moved(part: dict[str, Any]) -> dict[str, Any]:
        return {**part, "slope": times * part["slope"], "offset": part["offset"] + plus * part["slope"]}

    return {**moved(calibration), "by": {name: moved(part) for name, part in calibration["by"].items()}}


def corrected(promise: dict[str, Any], qualities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """A promise by circumstances as what came of it asks for: qualities (N,) that were promised by it, labels (N,) of success.

    So promises follow a task or a robot cell where other grasps hold than those that they were fitted to.
    """
    slope, plus = _regress(
        np.column_stack([logit(np.clip(qualities, LEAST, 1 - LEAST)), np.ones(len(labels))]),
        labels,
        np.ones(len(labels)),
        np.full(2, SPREAD),
    )
    times = max(slope, LEAST_SLOPE)

    def scaled(part: dict[str, Any]) -> dict[str, Any]:
        return {**part, "slope": times * part["slope"], "offset": times * part["offset"]}

    whole = scaled(promise)
    return {**whole, "offset": whole["offset"] + plus, "by": {name: scaled(part) for name, part in promise["by"].items()}}


def as_served(found: Evaluation, calibration: dict[str, Any]) -> Evaluation:
    """The same with calibrated logits."""
    if calibration.get("kind") == "temperature":
        return replace(found, logits=found.logits / float(calibration["value"]))
    if calibration.get("kind") != "circumstances":
        return found
    given = found.circumstances if found.circumstances.size else np.zeros((len(found.logits), 0))
    slope, offset = slope_and_offset(calibration, given)
    return replace(found, logits=found.logits * slope + offset)
