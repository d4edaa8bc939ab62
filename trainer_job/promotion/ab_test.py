"""Champion against candidate on the same scenes: which trials to ask for, and when enough is known.

Both versions take their best grasp in the same simulated scene; only pairs in which exactly one succeeds tell them apart. Of
those, the candidate wins a share p. A sequential probability ratio test (Wald 1945) decides between p = 1/2 (no better) and
p = BETTER_SHARE as early as the stated error rates allow.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from grasp_client.contract import SceneRequest
from shared.rates import rate_with_interval
from shared.streams.scene_mix import ALL, SceneMix
from trainer_job.data.outcome_index import AB_TEST_PREFIX, IndexEntry
from trainer_job.promotion.evidence import RequestSigner
from trainer_job.training.recipe import recipe_of_model

BETTER_SHARE = 0.62
"""Share of the decided pairs that a candidate worth having wins: +5 points at a success rate of 80 to 90 %."""
FALSE_PROMOTION = 0.05
"""Probability of promoting a candidate that is no better than the champion."""
FALSE_REJECTION = 0.10
"""Probability of rejecting one that wins BETTER_SHARE of the decided pairs, were there no limit on pairs."""
UPPER = math.log((1 - FALSE_REJECTION) / FALSE_PROMOTION)
LOWER = math.log(FALSE_REJECTION / (1 - FALSE_PROMOTION))
LOST_SECONDS = 180.0
"""A trial of which nothing was heard for so long is asked for again."""
MAX_ASKED = 3
"""A trial that was asked for so often without an outcome (no grasp was found, say) voids its pair."""
ARMS = ("champion", "candidate")
NEVER = (-math.inf, 0)
"""When, and how often, a trial was asked for that never was."""


@dataclass(frozen=True)
class Score:
    """Pairs in which both trials were made, and how they ended."""

    pairs: int = 0
    both: int = 0
    wins: int = 0
    losses: int = 0

    def plus(self, champion: bool, candidate: bool) -> Score:
        """The score with one more pair, in which each version succeeded or not."""
        return Score(
            self.pairs + 1,
            self.both + (champion and candidate),
            self.wins + (candidate and not champion),
            self.losses + (champion and not candidate),
        )

    @property
    def log_ratio(self) -> float:
        """Evidence for BETTER_SHARE over one half, nats."""
        return self.wins * math.log(BETTER_SHARE / 0.5) + self.losses * math.log((1 - BETTER_SHARE) / 0.5)

    def rates(self) -> dict[str, dict[str, float]]:
        """Success of each version with its interval."""
        return {
            "champion": rate_with_interval(self.both + self.losses, self.pairs),
            "candidate": rate_with_interval(self.both + self.wins, self.pairs),
        }


def verdict(score: Score, max_pairs: int) -> bool | None:
    """True: better, promote. False: not shown to be better. None: go on. At the limit the nearer bound decides."""
    if score.log_ratio >= UPPER:
        return True
    if score.log_ratio <= LOWER:
        return False
    return score.log_ratio > UPPER / 2 if score.pairs >= max_pairs else None


def needed(score: Score) -> str:
    """What is still to come before the candidate is promoted, for people."""
    wins = math.ceil((UPPER - score.log_ratio) / math.log(BETTER_SHARE / 0.5))
    return f"needs {wins} more won to promote"


def rule(max_pairs: int, how: str) -> str:
    return (
        f"{how}, sequential test of 0.5 against {BETTER_SHARE} of the pairs that only one wins, "
        f"false promotion {FALSE_PROMOTION:.0%}, false rejection {FALSE_REJECTION:.0%}, at most {max_pairs} pairs"
    )


class PairedTest:
    """A candidate against the champion, pair by pair."""

    what = ""
    """What the pairs are, for people."""
    pairing = ""
    """How they come about, for the card."""
    card_field = ""
    """Of the card that holds success of this kind."""

    def __init__(self, model: str, champion: int, candidate: int, max_pairs: int) -> None:
        self.model, self.champion, self.candidate, self.max_pairs = model, champion, candidate, max_pairs

    def score(self) -> Score:
        """How often each way a pair can end has come."""
        raise NotImplementedError

    def decided(self) -> bool | None:
        """The verdict: True to promote, False to reject, None to go on."""
        return verdict(self.score(), self.max_pairs)

    def text(self) -> str:
        """How far it is, for people."""
        score = self.score()
        return (
            f"A/B test {self.what}, version {self.candidate} against {self.champion}: {score.pairs} of at most "
            f"{self.max_pairs} pairs, won {score.wins}, lost {score.losses}, {needed(score)}"
        )

    def record(self, promoted: bool) -> dict[str, Any]:
        """The decision for the card."""
        score = self.score()
        rates = score.rates()
        figures = f"{rates['candidate']['rate']:.1%} against {rates['champion']['rate']:.1%}"
        return {
            "action": "promoted" if promoted else "rejected",
            "reason": f"{figures} {self.what}: won {score.wins}, lost {score.losses} of {score.pairs} pairs",
            "rule": rule(self.max_pairs, self.pairing),
            "trial": {"champion_version": self.champion, **self.conditions(), **rates},
        }

    def conditions(self) -> dict[str, Any]:
        """Where the pairs were made, for the card."""
        return {}


class AbTest(PairedTest):
    """The simulated trials of one candidate. All it knows follows from the stored outcomes, so a restart goes on where it was.

    signer: makes the nonces by which outcomes are known to be of these trials.
    """

    attempts = 1
    """Of a trial."""
    what = "in simulation"
    pairing = "paired trials on the same scenes"
    card_field = "simulated"

    def __init__(
        self,
        model: str,
        champion: int,
        candidate: int,
        max_pairs: int,
        signer: RequestSigner,
        seed: int,
        mix: SceneMix = ALL,
        object_set: str = "validation",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(model, champion, candidate, max_pairs)
        self.signer, self.seed, self.mix, self.object_set, self.clock = signer, seed, mix, object_set, clock
        self.planner = recipe_of_model(model).planner or "auto"
        self._trials = {self._name(pair, arm): (pair, arm) for pair in range(max_pairs) for arm in ARMS}
        self._requests: dict[str, SceneRequest] = {}
        self._success: dict[str, bool] = {}
        self._asked: dict[str, tuple[float, int]] = {}

    def scene_request(self, pair: int, arm: str) -> SceneRequest:
        """The trial of one version in scene `pair`: the same scene for both."""
        name = self._name(pair, arm)
        if name not in self._requests:
            rng = np.random.default_rng([self.seed, self.candidate, pair])
            asked = SceneRequest(
                id=name,
                seed=int(rng.integers(2**31)),
                **self.mix.draw(rng),
                object_set=self.object_set,
                purpose="judge",
                planner=self.planner,
                model_version=self.champion if arm == "champion" else self.candidate,
                attempts=self.attempts,
            )
            self._requests[name] = self.signer.sign(asked)
        return self._requests[name]

    def learn(self, records: Iterable[IndexEntry]) -> None:
        """Takes in outcomes that are proven to be of these trials; of a trial that was run twice the first counts."""
        for record in records:
            trial = self._trials.get(record.scene.ticket or "") if record.scene else None
            if trial and record.scene and record.scene.ticket and self._is_outcome_of(record, self.scene_request(*trial)):
                self._success.setdefault(record.scene.ticket, record.success)

    def _is_outcome_of(self, record: IndexEntry, trial: SceneRequest) -> bool:
        made = (record.model, record.version) == (self.model, trial.model_version)
        return made and record.rank == 0 and not record.exploration and self.signer.proves(record.scene, trial)

    def score(self) -> Score:
        """How often each way a pair can end has come, among pairs of which both trials were made."""
        heard = iter([self._success.get(name) for name in self._trials])  # one arm and the other of a pair, pair by pair
        ends = Counter(pair for pair in zip(heard, heard, strict=True) if None not in pair)
        return Score(ends.total(), ends[True, True], ends[False, True], ends[True, False])

    def under_way(self) -> int:
        """Trials that were asked for and not heard of yet; some are done, but not stored."""
        return sum(self._waits(name) for name in self._asked)

    def missing(self, most: int) -> list[SceneRequest]:
        """Up to `most` trials to ask for now, beside those that are under way."""
        requests: list[SceneRequest] = []
        waiting = 0
        for name, trial in self._trials.items():
            if waiting + len(requests) >= most:
                break
            if self._waits(name):
                waiting += 1
            elif self._may_come(name):
                self._asked[name] = (self.clock(), self._asked.get(name, NEVER)[1] + 1)
                requests.append(self.scene_request(*trial))
        return requests

    def ask_anew(self) -> None:
        """Count what was asked for and not heard of as never asked: nobody could do it."""
        self._asked.clear()

    def decided(self) -> bool | None:
        """The verdict; at the limit also when what is missing will not come."""
        score = self.score()
        if (found := verdict(score, self.max_pairs)) is not None:
            return found
        return None if any(map(self._may_come, self._trials)) else verdict(score, 0)

    def conditions(self) -> dict[str, Any]:
        return {"seed": self.seed, **self.mix.as_json(), "object_set": self.object_set}

    def _waits(self, name: str) -> bool:
        """Whether a trial was asked for lately, and nothing was heard of it."""
        return name not in self._success and self.clock() - self._asked.get(name, NEVER)[0] < LOST_SECONDS

    def _may_come(self, name: str) -> bool:
        """Whether a trial that was not heard of may still be made."""
        return name not in self._success and (self._waits(name) or self._asked.get(name, NEVER)[1] < MAX_ASKED)

    def _name(self, pair: int, arm: str) -> str:
        return f"{AB_TEST_PREFIX}{self.model}-{self.candidate}-{pair}-{arm}"
