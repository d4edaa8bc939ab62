"""The networks that the loop and `trainer_job.fit` can train, by the name of their model in the registry."""

from __future__ import annotations

from trainer_job.crop_learner import crop_learner
from trainer_job.heat_learner import heat_learner
from trainer_job.learner import Learner
from trainer_job.recipe import load
from trainer_job.suction_learner import SuctionLearner

LEARNERS: dict[str, Learner] = {
    learner.name: learner
    for learner in (
        Learner(),
        SuctionLearner(),
        crop_learner(load("gqcnn4-jaw-shards"), planner="gqcnn"),
        heat_learner(load("heatmap16"), planner="heatmap"),
    )
}
