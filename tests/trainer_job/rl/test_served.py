"""What the server answers is what the learner's policy does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from serving import serving, settings

from grasp_client import GraspClient
from shared.features.eye_in_hand import SIDE, picture
from shared.networks.grasp_actor import GraspActor
from shared.registry import ModelCard, Registry
from sim_worker.envs.closed_loop_any import ClosedLoopAny
from trainer_job.promotion.publish import weights_of
from trainer_job.rl.learner import Learner
from trainer_job.rl.progress import Recipe


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


def test_a_served_policy_for_any_object_acts_as_its_network_says(tmp_path: Path) -> None:
    actor, terms = GraspActor().eval(), ClosedLoopAny().interface()
    registry, name = Registry(tmp_path / "models"), "closed-loop-any-depth"
    card = {"name": name, "architecture": "grasp-actor", "parameters": actor.parameters_of_card, "policy": terms}
    registry.publish(name, weights_of(actor), ModelCard.model_validate(card))
    registry.promote(name, 1)
    depths = 0.5 * np.random.default_rng(0).random((5, SIDE, SIDE)).astype(np.float32)
    said = actor(torch.as_tensor(np.stack([picture("depth", depth, None) for depth in depths]))).detach().numpy()
    with serving(settings(tmp_path / "models")) as server, GraspClient(server.url) as client:
        told = {"camera": terms["camera"], "hand_camera_pose": terms["mount"], "policy": name}
        answers = [client.act(depth, **told) for depth in depths]
    assert np.array([each.delta for each in answers]) == pytest.approx(0.01 * said[:, :3], abs=1e-7)
    assert [each.yaw for each in answers] == pytest.approx((0.15 * said[:, 3]).tolist(), abs=1e-6)
    assert [each.close for each in answers] == (said[:, 4] > 0.8).tolist()
    assert [each.position for each in answers] == pytest.approx(0.1 * said[:, 5:], abs=1e-6)
