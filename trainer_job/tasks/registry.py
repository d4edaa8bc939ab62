"""The networks that the loop and `trainer_job.fit` can train, by the name of their model in the registry."""

from __future__ import annotations

from trainer_job.tasks.base import Learner
from trainer_job.tasks.crop_learner import crop_learner
from trainer_job.tasks.heatmap_learner import heatmap_learner
from trainer_job.tasks.suction_dense import SuctionLearner
from trainer_job.training.recipe import load

LEARNERS: dict[str, Learner] = {
    learner.name: learner
    for learner in (
        Learner(),
        SuctionLearner(),
        crop_learner(load("gqcnn4-jaw-shards"), planner="gqcnn"),
        heatmap_learner(load("heatmap16"), planner="heatmap"),
    )
}
