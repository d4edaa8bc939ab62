"""Champion against candidate in whole episodes of getting one thing: who gets it, and in how many motions."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.rates import rate_with_interval
from trainer_job.data.outcome_index import IndexEntry
from trainer_job.promotion.ab_test import AbTest, Score

MOST_MOTIONS = 15
"""Of an episode, as in published work on pushing to grasp."""


@dataclass(frozen=True)
class EpisodeScore(Score):
    """A pair is won by the version that gets the thing, or by the one that needs fewer motions. done: episodes in which the
    champion and the candidate got it; motions: mean of those, 0 without any."""

    done: tuple[int, int] = (0, 0)
    motions: tuple[float, float] = (0.0, 0.0)

    def rates(self) -> dict[str, dict[str, float]]:
        """Completion of each version with its interval, and its motions."""
        told = zip(("champion", "candidate"), self.done, self.motions, strict=True)
        return {who: {**rate_with_interval(done, self.pairs), "motions": motions} for who, done, motions in told}


class EpisodeTest(AbTest):
    """The simulated episodes of one candidate that tells the values of pushes."""

    what = "in simulated episodes"
    pairing = "paired episodes in the same scenes, won by getting the thing, or in fewer motions"
    attempts = MOST_MOTIONS

    def __init__(self, *arguments: Any, champion_trained: bool = True, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.champion_trained = champion_trained
        self._ends: dict[str, tuple[bool, int]] = {}

    def decided(self) -> bool | None:
        """As of all tests; but at the limit a champion that has learned nothing yields to what is not worse.

        Any push frees some goals: what a first version learned is a motion in ten, for which such pairs are few.
        """
        found, score = super().decided(), self.score()
        if found is False and not self.champion_trained and score.pairs >= self.max_pairs:
            return score.wins >= score.losses
        return found

    def learn(self, records: Iterable[IndexEntry]) -> None:
        """Takes in the ends of episodes that are proven to be of these trials; of one that was run twice the first counts."""
        for record in records:
            trial = self._trials.get(record.scene.ticket or "") if record.scene else None
            if trial is None or record.episode is None or record.scene is None or record.scene.ticket is None:
                continue
            asked, model = self.scene_request(*trial), record.episode.model
            made = model is not None and (model.name, model.version) == (self.model, asked.model_version)
            if made and self.signer.proves(record.scene, asked):
                self._ends.setdefault(record.scene.ticket, (record.episode.done, record.episode.motions))
                self._success.setdefault(record.scene.ticket, record.episode.done)

    def score(self) -> EpisodeScore:
        heard = iter([self._ends.get(name) for name in self._trials])  # one arm and the other of a pair, pair by pair
        pairs = [(one, two) for one, two in zip(heard, heard, strict=True) if one is not None and two is not None]
        worth = [[(done, -motions if done else 0) for done, motions in pair] for pair in pairs]
        both = sum(one == two and one[0] for one, two in worth)
        arms = [[pair[arm] for pair in pairs] for arm in (0, 1)]
        means = [float(np.mean([float(motions) for done, motions in arm if done] or [0.0])) for arm in arms]
        return EpisodeScore(
            len(pairs),
            int(both),
            wins=sum(two > one for one, two in worth),
            losses=sum(one > two for one, two in worth),
            done=(sum(done for done, _ in arms[0]), sum(done for done, _ in arms[1])),
            motions=(means[0], means[1]),
        )
