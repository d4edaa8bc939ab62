"""What the server answers is what the learner's policy does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from serving import serving, settings

from grasp_client import GraspClient
from shared.features.eye_in_hand import SIDE, picture
from shared.registry import ModelCard, Registry
from trainer_job.promotion.publish import weights_of
from trainer_job.rl.learner import Learner, Recipe


def test_a_served_policy_acts_as_the_learners_does(tmp_path: Path, make_worlds) -> None:
    learner = Learner(make_worlds(), Recipe(worlds=2, buffer=64), tmp_path / "run")
    actor, terms = learner.newest(), learner.worlds.interface
    registry = Registry(tmp_path / "models")
    card = {"name": "closed-loop-depth", "architecture": "picture-actor", "parameters": actor.parameters_of_card}
    registry.publish("closed-loop-depth", weights_of(actor), ModelCard.model_validate({**card, "policy": terms}))
    registry.promote("closed-loop-depth", 1)
    depths = 0.5 * np.random.default_rng(0).random((20, SIDE, SIDE)).astype(np.float32)
    seen = {
        "picture": np.stack([picture("depth", depth, None) for depth in depths]),
        "state": np.zeros((len(depths), 4), np.float32),
    }
    wanted, _ = learner.model.predict(seen, deterministic=True)
    with serving(settings(tmp_path / "models")) as server, GraspClient(server.url) as client:
        told = {"camera": terms["camera"], "hand_camera_pose": terms["mount"]}
        served = np.array([client.act(depth, **told).delta for depth in depths])
    moved = wanted @ np.array(terms["movement"])[:3].T + np.array(terms["still"])[:3]
    assert np.abs(served - moved).max() <= 1e-5 * 0.01  # of an action of 1, 1 cm
    assert np.abs(wanted).max() > 1e-3
