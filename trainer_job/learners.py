"""The networks that the loop and `trainer_job.fit` can train, by the name of their model in the registry."""

from __future__ import annotations

from trainer_job.learner import Learner
from trainer_job.suction_learner import SuctionLearner

LEARNERS: dict[str, Learner] = {learner.name: learner for learner in (Learner(), SuctionLearner())}
