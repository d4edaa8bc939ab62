"""Hands that are sent on in steps arrive where they are sent, turned as they are told."""

from __future__ import annotations

import numpy as np
import pytest

from grasp_client.contract import Gripper
from sim_worker.grasp_poses import top_down
from sim_worker.world import SceneSpec, World


@pytest.mark.parametrize("hand", ["floating", "arm"])
def test_a_hand_follows_in_position_and_turn_and_lifts_from_there(hand) -> None:
    scene = World().build(SceneSpec(seed=3))
    state = scene.stage(Gripper(), hand)
    start, goal = top_down(np.array([0.05, 0.0]), 0.3, 0.0), top_down(np.array([-0.04, 0.06]), 0.22, 0.7)
    state.hand.place(start, 0.06)
    with scene.physics.finer(240):
        for share in np.linspace(0, 1, 21)[1:]:
            xy, height = (1 - share) * start[:2, 3] + share * goal[:2, 3], 0.3 - 0.08 * share
            state.hand.follow(top_down(xy, height, 0.7 * share), 24)
        state.hand.follow(goal, 48)
        here = state.hand.tip_pose()
        assert here[:3, 3] == pytest.approx(goal[:3, 3], abs=0.002)
        assert np.trace(here[:3, :3].T @ goal[:3, :3]) == pytest.approx(3, abs=1e-3)
        if hand == "arm":
            assert state.hand.plan_lift()
        for _ in range(60):
            state.hand.lift(0.2)
            scene.physics.step()
        assert state.hand.tip_pose()[:3, 3] == pytest.approx(goal[:3, 3] + [0, 0, 0.05], abs=0.004)
    assert state.hand.fingers.opening() == pytest.approx(0.06, abs=0.002)


def test_a_staged_scene_starts_settled_again_for_the_next() -> None:
    world = World()
    scene, fresh = world.build(SceneSpec(seed=5)), World().build(SceneSpec(seed=5))
    state = scene.stage(Gripper())
    x, y, _ = world.physics.client.getBasePositionAndOrientation(next(iter(state.bodies)))[0]
    state.hand.place(top_down(np.array([x + 0.06, y]), 0.01, 0.0), 0.01)
    state.hand.follow(top_down(np.array([x - 0.06, y]), 0.01, 0.0), 60)
    pose = top_down(np.array([x, y]), 0.02, 0.4)
    assert scene.attempt(pose, 0.08, trial=0) == fresh.attempt(pose, 0.08, trial=0)
