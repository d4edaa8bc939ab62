"""The two tasks without a camera on the hand, and the hand that knows the state."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from grasp_client.geometry import pose_from
from sim_worker.envs.closed_loop import ClosedLoop
from sim_worker.envs.reach import Reach
from sim_worker.envs.refine import Refine
from sim_worker.envs.trials import displaced


@pytest.mark.parametrize("hand", ["floating", "arm"])
def test_going_straight_to_the_object_reaches_it(hand) -> None:
    environment = Reach(hand=hand)
    observation, _ = environment.reset(seed=1)
    ended = False
    while not ended:
        observation, reward, ended, cut, info = environment.step((observation[3:] - observation[:3]) / 0.005)
        assert not cut
    assert reward == 1.0
    assert info["is_success"]
    assert np.linalg.norm(observation[3:] - observation[:3]) < 0.1


def test_leaving_and_dawdling_cost_a_tenth() -> None:
    environment = Reach()
    environment.reset(seed=1)
    for _ in range(300):
        _, reward, ended, cut, _ = environment.step(np.array([0.4, 0.0, 0.3], np.float32))
        if ended:
            break
        assert reward == 0
    assert (reward, ended, cut) == (-0.1, True, False)
    environment.reset(seed=1)
    for _ in range(1000):
        _, reward, ended, cut, _ = environment.step(np.zeros(3, np.float32))
    assert (reward, ended, cut) == (-0.1, False, True)


def test_no_correction_executes_the_proposal_and_corrections_are_in_its_frame() -> None:
    environment = Refine()
    for seed in range(3):
        environment.reset(seed=seed)
        pose, width = environment._proposal
        spec = environment.scene.spec
        _, reward, ended, _, info = environment.step(np.zeros(4))
        expected = environment.world.build(spec).attempt(pose, width)
        assert (info["is_success"], info["failure"]) == (expected.success, expected.failure)
        assert ended
        assert reward == (1.0 if expected.success else -1.0)
    environment.reset(seed=0)
    assert environment.step(np.array([0, 0, -1.0, 0.5]))[1] == pytest.approx(-1 - 0.1 * 1.25)  # 2 cm too high


def test_a_cell_that_is_off_moves_the_proposal_and_not_what_the_hand_sees() -> None:
    right, off = Refine(), Refine(cell_error=(0.01, 0.008, 0.0, 0, 0, 0))
    seen, shifted = (each.reset(seed=2)[0] for each in (right, off))
    moved = off._proposal[0][:3, 3] - right._proposal[0][:3, 3]
    assert moved[:2] == pytest.approx([0.01, 0.008], abs=0.003)
    assert (np.abs(seen["picture"].astype(int) - shifted["picture"]) > 8).mean() < 0.05
    # The object between the fingers stands up from the table.
    assert seen["picture"][0, 24:40, 24:40].max() > seen["picture"][0, 2, 2] + 20


def test_a_planner_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Refine(planner="nonsense")


def test_a_constant_offset_moves_in_its_own_frame() -> None:
    pose = pose_from(Rotation.from_euler("ZX", [0.3, np.pi]).as_matrix(), np.array([0.1, 0.2, 0.05]))
    for frame, moved in (("hand", pose[:3, :3] @ [0.01, 0, 0.02]), ("base", [0.01, 0, 0.02])):
        found = displaced(pose, {"frame": frame, "offset": [0.5, 0, 1, 1]})
        assert np.allclose(found[:3, 3] - pose[:3, 3], moved)
        yaw = np.arctan2(found[1, 0], found[0, 0]) - 0.3
        assert yaw == pytest.approx(0.26 if frame == "base" else -0.26)


def test_the_action_of_a_hand_that_knows_lifts_what_moves() -> None:
    environment = ClosedLoop(privileged=True, taught=True, level=4, nudge=0.03, mount_shift=0.01, mount_turn=0.07)
    observation, _ = environment.reset(seed=1)
    ended = False
    while not ended:
        observation, _, ended, _, info = environment.step(observation["advice"])
    assert info["is_success"]
