"""Champion against candidate by the grasps that robots execute: the server gives each a share of the requests.

A request's id decides with a secret key which version answers it, so neither version nor client chooses. The i-th outcome of
one is compared with the i-th of the other by the same sequential test as simulated trials; where both versions are alike, each
wins half of the pairs that only one wins.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.registry import asks_candidate
from trainer_job.data.outcome_index import IndexEntry
from trainer_job.promotion.ab_test import PairedTest, Score, verdict

SHARE = 0.5
"""Of the requests that the candidate answers while it is tested: equal shares decide soonest."""

MIN_FOR_SILENCE = 20
"""Outcomes of the champion during which the candidate would have answered too."""


class ServedAbTest(PairedTest):
    """One candidate's outcomes and the champion's, since the test began. All it knows follows from the stored outcomes.

    after: number of the newest shard when the test began: what was reported before it is no part of it. until: of the newest
    shard that is. key: of `asks_candidate`; the server has it from the registry.
    """

    what = "on served grasps"
    pairing = "best grasps of either version that robots of trusted sources reported, in the order in which they came"
    card_field = "robots"

    def __init__(self, model: str, champion: int, candidate: int, max_pairs: int, after: int, key: str) -> None:
        super().__init__(model, champion, candidate, max_pairs)
        self.after = self.until = after
        self.key = key
        self.successes: dict[int, list[bool]] = {champion: [], candidate: []}

    def learn(self, served: Mapping[int, Sequence[IndexEntry]]) -> None:
        """Takes in all outcomes in service by version, as `ServiceRecord.served` has them. Of requests that pinned a version
        those count that would have met it anyhow."""
        for version in self.successes:
            its = [record for record in served.get(version, ()) if record.shard_number > self.after]
            mine = [record for record in its if self._is_of(record, version)]
            self.successes[version] = [record.success for record in mine]
            self.until = max(self.until, max((record.shard_number for record in its), default=0))

    def _is_of(self, record: IndexEntry, version: int) -> bool:
        return asks_candidate(record.request_id, SHARE, self.key) == (version == self.candidate)

    def score(self) -> Score:
        """Of all pairs, or up to the first at which there is a verdict: the same however many outcomes come at a time."""
        score = Score()
        pairs = zip(self.successes[self.champion], self.successes[self.candidate], strict=False)
        for champion, candidate in pairs:
            if verdict(score, self.max_pairs) is not None:
                break
            score = score.plus(champion, candidate)
        return score

    def text(self) -> str:
        champion, candidate = (len(self.successes[version]) for version in (self.champion, self.candidate))
        told = f"{super().text()} (outcomes: {candidate} of version {self.candidate}, {champion} of {self.champion})"
        if champion >= MIN_FOR_SILENCE and not candidate:
            told += "; the candidate answers nothing: is CANDIDATE_SHARE set to 0, or the server not of this registry?"
        return told

    def conditions(self) -> dict[str, Any]:
        outcomes = {str(version): len(its) for version, its in self.successes.items()}
        return {"after_shard": self.after, "until_shard": self.until, "outcomes": outcomes}
