"""Any object: the hand turns, closes by itself, and the object may be shifted on the way."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from grasp_client.geometry import invert
from shared.networks.grasp_actor import GraspActor
from sim_worker.envs.closed_loop_any import ClosedLoopAny
from sim_worker.envs.guide import Guide
from sim_worker.world import Scene, SceneSpec


def scripted(state: np.ndarray) -> np.ndarray:
    """Over the object, across its short side, down, close."""
    way, angle = state[:3] * 0.1, np.arctan2(state[4], state[3]) / 2
    away = np.linalg.norm(way[:2]) > 0.006 or abs(angle) > 0.1
    action = np.array([way[0] / 0.01, way[1] / 0.01, 0.0 if away else way[2] / 0.01, angle / 0.15, -1.0])
    if not away and abs(way[2]) < 0.003:
        action[4] = 1.0
    return np.clip(action, -1, 1).astype(np.float32)


def test_a_policy_that_knows_the_state_lifts_most_objects() -> None:
    environment, lifted = ClosedLoopAny(privileged=True), 0
    for seed in range(10):
        observation, _ = environment.reset(seed=seed)
        ended = False
        while not ended:
            observation, reward, ended, _, info = environment.step(scripted(observation["state"]))
        lifted += info["is_success"]
        assert reward == (1.0 if info["is_success"] else -info["distance"])
    assert lifted >= 6  # 83 % of 30 when this was written


def test_closing_ends_an_episode_and_time_does_too() -> None:
    environment = ClosedLoopAny()
    environment.reset(seed=0)
    assert environment.step(np.array([0, 0, 0, 0, 1], np.float32))[2]
    environment.reset(seed=0)
    ends = [environment.step(np.array([0, 0, 0, 0, 0.7], np.float32))[2] for _ in range(40)]
    assert ends == [False] * 39 + [True]


def test_turning_brings_the_short_side_between_the_fingers() -> None:
    environment = ClosedLoopAny(privileged=True, nudge=False)
    observation, _ = environment.reset(seed=4)
    before = np.arctan2(*observation["state"][[4, 3]]) / 2
    turn = float(np.clip(before / 0.15, -1, 1))
    observation, *_ = environment.step(np.array([0, 0, 0, turn, -1], np.float32))
    assert np.arctan2(*observation["state"][[4, 3]]) / 2 == pytest.approx(before - 0.15 * turn, abs=0.01)


def test_half_of_the_objects_are_shifted_by_three_centimetres() -> None:
    environment, shifts = ClosedLoopAny(), []
    for seed in range(12):
        environment.reset(seed=seed)
        steps = []
        for _ in range(21):
            before = environment._object_position()
            environment.step(np.zeros(5, np.float32))
            steps.append(np.linalg.norm(environment._object_position()[:2] - before[:2]))
        shifts.append(max(steps))  # an object may roll on from where it was shifted to
    shifted = np.array(shifts) > 0.02
    assert 3 <= shifted.sum() <= 9
    assert np.array(shifts)[shifted] == pytest.approx(0.03, abs=0.004)
    assert np.array(shifts)[~shifted] == pytest.approx(0, abs=0.004)


def test_who_is_advised_lifts_what_no_middle_fits_between_the_fingers() -> None:
    """Wide objects too: it goes where a planner would grasp, and follows when they are shifted."""
    environment, lifted, steer = ClosedLoopAny(privileged=True, taught=True), [], GraspActor().steer
    assert environment.curriculum.level == 3
    for seed in range(8):
        observation, _ = environment.reset(seed=seed)
        assert environment.observation_space.contains(observation)
        ended = False
        while not ended:
            action = steer(torch.as_tensor(observation["advice"])[None])[0].numpy()
            observation, _, ended, _, info = environment.step(action)
        lifted.append(info["is_success"])
        assert environment.steps < 30  # it closes by itself
    assert sum(lifted) >= 7


def test_a_scene_is_planned_in_once_and_taught_alike_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """From another start, and by another environment of the process."""
    planned: list[SceneSpec] = []

    def grasps(self: Guide, scene: Scene, hand: str, body: np.ndarray, otherwise: np.ndarray) -> list[np.ndarray]:
        planned.append(scene.spec)
        return [invert(body) @ otherwise]

    monkeypatch.setattr(Guide, "grasps", grasps)
    monkeypatch.setattr(ClosedLoopAny, "_surveyed", {})
    monkeypatch.setattr(sys.modules[ClosedLoopAny.__module__], "SCENES", 2)
    seen = []
    for seed in range(6):
        environment = ClosedLoopAny(privileged=True, taught=True)
        environment.reset(seed=seed)
        seen.append((environment.scene.spec.seed, environment.scene.hash()))
        advice, tip = environment._advice(), environment._sent
        aim = tip[:3, 3] + tip[:3, :3] @ (0.1 * advice[:3])
        assert aim == pytest.approx(environment._aim(), abs=1e-6)
        assert advice[5] == pytest.approx((tip[2, 3] - environment._about.top) / 0.1)
        environment.close()
    assert [spec.seed for spec in planned] == list(dict.fromkeys(seed for seed, _ in seen))
    assert len(set(seen)) == 2


def test_what_tipped_over_is_taught_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The grasps that it was planned for are none then."""
    monkeypatch.setattr(Guide, "grasps", lambda self, scene, hand, body, otherwise: [invert(body) @ otherwise])
    monkeypatch.setattr(ClosedLoopAny, "_surveyed", {})
    for taught in (True, False):
        environment = ClosedLoopAny(privileged=True, taught=taught)
        environment.reset(seed=0)
        client, body = environment.scene.physics.client, environment._object()
        client.resetBasePositionAndOrientation(body, [0.0, 0.0, 0.05], [0.3, 0.0, 0.0, 0.954])
        _, reward, ended, _, info = environment.step(np.zeros(5, np.float32))
        assert (ended, "is_success" in info) == (taught, taught)
        assert (reward < 0) == taught
