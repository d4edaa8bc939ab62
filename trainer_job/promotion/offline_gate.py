"""Whether a candidate may take the champion's place by held-out examples alone: pure functions, and the rule for the card."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from trainer_job.evaluation.metrics import Evaluation, fit_temperature, log_losses

MIN_HELD_OUT = 30
"""Fewest held-out examples on which a trained champion may be replaced."""
MAX_AP_LOST = 0.02
"""Most by which a candidate's average precision may be lower."""
RULE = (
    "promoted unless worse on the same held-out outcomes: mean difference in log-loss (both calibrated on them) at most one "
    f"standard error above zero, and AP at most {MAX_AP_LOST} lower; "
    f"a trained champion yields only on {MIN_HELD_OUT} outcomes or more"
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


def compare(champion: Evaluation, candidate: Evaluation) -> GateComparison:
    """Compares two versions; both calibrated on these outcomes where they give probabilities, so that neither is favoured."""
    both = (champion, candidate)
    temperatures = [fit_temperature(each.labels, each.logits) for each in both]
    losses = [
        log_losses(each.labels, each.logits, temperature) if len(each.labels) else each.losses
        for each, temperature in zip(both, temperatures, strict=True)
    ]
    differences = losses[1] - losses[0]
    many = len(differences) > 1
    return GateComparison(
        outcomes=len(differences),
        difference=float(differences.mean()) if len(differences) else 0.0,
        standard_error=float(differences.std(ddof=1) / np.sqrt(len(differences))) if many else 0.0,
        champion=champion.metrics(temperatures[0]),
        candidate=candidate.metrics(temperatures[1]),
    )


def decide(comparison: GateComparison, champion_trained: bool) -> GateDecision:
    """Applies RULE. A champion that has learned nothing yet yields to any candidate that is not worse on what there is."""
    n = comparison.outcomes
    if champion_trained and n < MIN_HELD_OUT:
        return GateDecision(
            False,
            f"held out {n} of {MIN_HELD_OUT} outcomes that are needed to replace a trained champion: a tenth of the scenes is "
            f"held out, so it takes about {10 * MIN_HELD_OUT} outcomes of different scenes",
        )
    figures = f"log-loss {comparison.difference:+.4f} ± {comparison.standard_error:.4f} on {n} held-out outcomes"
    if n == 1 and np.isfinite(comparison.difference):
        return GateDecision(True, f"one outcome says nothing of a champion that has learned nothing: {figures}")
    if not comparison.difference <= comparison.standard_error:  # also where either is no number
        return GateDecision(False, f"worse: {figures}")
    lost = comparison.champion.get("ap", 0.0) - comparison.candidate.get("ap", 0.0)
    if champion_trained and not lost <= MAX_AP_LOST:
        return GateDecision(False, f"worse: AP {lost:.3f} lower; {figures}")
    return GateDecision(True, f"not worse: {figures}")
