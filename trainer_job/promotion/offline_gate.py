"""Whether a candidate may take the champion's place by held-out outcomes alone: pure functions, and the rule for the card."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from trainer_job.evaluation.metrics import binary_metrics, fit_temperature, log_losses

LEAST_HELD_OUT = 30
MOST_AP_LOST = 0.02
RULE = (
    "promoted unless worse on the same held-out outcomes: mean difference in log-loss (both calibrated on them) at most one "
    f"standard error above zero, and AP at most {MOST_AP_LOST} lower; "
    f"a trained champion yields only on {LEAST_HELD_OUT} outcomes or more"
)


@dataclass(frozen=True)
class GateComparison:
    """Champion and candidate on the same held-out outcomes. difference: mean log-loss of the candidate minus the champion's."""

    outcomes: int
    difference: float
    standard_error: float
    champion: dict[str, float] = field(default_factory=dict)
    candidate: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class GateDecision:
    promote: bool
    reason: str

    def as_json(self) -> dict[str, Any]:
        return {"action": "promoted" if self.promote else "rejected", "reason": self.reason, "rule": RULE}


def compare(labels: np.ndarray, champion: np.ndarray, candidate: np.ndarray) -> GateComparison:
    """Compares two versions' logits (N,); both calibrated on these outcomes, so that neither is favoured."""
    temperatures = [fit_temperature(labels, logits) for logits in (champion, candidate)]
    losses = [log_losses(labels, logits, t) for logits, t in zip((champion, candidate), temperatures, strict=True)]
    differences = losses[1] - losses[0]
    many = len(differences) > 1
    return GateComparison(
        outcomes=len(labels),
        difference=float(differences.mean()) if len(differences) else 0.0,
        standard_error=float(differences.std(ddof=1) / np.sqrt(len(differences))) if many else 0.0,
        champion=binary_metrics(labels, champion, temperatures[0]),
        candidate=binary_metrics(labels, candidate, temperatures[1]),
    )


def decide(comparison: GateComparison, champion_trained: bool) -> GateDecision:
    """Applies RULE. A champion that has learned nothing yet yields to any candidate that is not worse on what there is."""
    n = comparison.outcomes
    if champion_trained and n < LEAST_HELD_OUT:
        return GateDecision(False, f"only {n} held-out outcomes, {LEAST_HELD_OUT} are needed to replace a trained champion")
    figures = f"log-loss {comparison.difference:+.4f} ± {comparison.standard_error:.4f} on {n} held-out outcomes"
    if comparison.difference > comparison.standard_error:
        return GateDecision(False, f"worse: {figures}")
    lost = comparison.champion.get("ap", 0.0) - comparison.candidate.get("ap", 0.0)
    if champion_trained and lost > MOST_AP_LOST:
        return GateDecision(False, f"worse: AP {lost:.3f} lower; {figures}")
    return GateDecision(True, f"not worse: {figures}")
