"""The box task has its published sizes, and is won by steering over the box and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from sim_worker.envs.closed_loop import ClosedLoop
from sim_worker.envs.curriculum import Curriculum


def steer(observation, _: int) -> np.ndarray:
    """Straight over the box."""
    return np.clip(observation["state"][:2] * 0.1 / 0.01, -1, 1)


def play(environment: ClosedLoop, seed: int, policy=steer, aside=(0.0, 0.0)) -> tuple[int, float, dict]:
    observation, _ = environment.reset(seed=seed)
    steps, ended = 0, False
    while not ended:
        seen = {**observation, "state": observation["state"] + np.array([*aside, 0, 0]) / 0.1}
        observation, reward, ended, cut, info = environment.step(policy(seen, steps))
        steps += 1
        assert not cut
        assert ended or reward == 0
    return steps, reward, info


@pytest.mark.parametrize(("hand", "episodes"), [("floating", 3), ("arm", 1)])
def test_steering_over_the_box_lifts_it(hand: str, episodes: int) -> None:
    environment = ClosedLoop(privileged=True, level=4, hand=hand)
    for seed in range(episodes):
        steps, reward, info = play(environment, seed)
        assert (steps, reward, info["is_success"]) == (100, 1.0, True)


@pytest.mark.parametrize(
    ("aside", "lifted"), [((0.011, 0.0), True), ((0.0, 0.017), True), ((0.022, 0.0), False), ((0.0, 0.03), False)]
)
def test_a_miss_costs_its_distance(aside, lifted) -> None:
    _, reward, info = play(ClosedLoop(privileged=True, level=4), 2, aside=aside)
    assert info["is_success"] == lifted
    if not lifted:
        assert reward == -info["distance"] < 0


def test_the_wrist_starts_and_sinks_as_published() -> None:
    environment = ClosedLoop(privileged=True)
    environment.reset(seed=0)
    wrist = environment.hand.tip_pose()[:3, 3] + [0, 0, 0.1112]
    assert wrist == pytest.approx([0, 0.164, 0.2212], abs=1e-4)
    for _ in range(50):
        environment.step(np.array([0.15, -0.1], np.float32))
    wrist = environment.hand.tip_pose()[:3, 3] + [0, 0, 0.1112]
    assert wrist == pytest.approx([0.075, 0.114, 0.1712], abs=1.6e-3)  # drives are ahead by a step
    for _ in range(49):
        environment.step(np.array([1, -1], np.float32))
    assert environment.hand.tip_pose()[:2, 3] == pytest.approx([0.1, 0.02], abs=1e-3)  # as far as the arm reaches


@pytest.mark.parametrize("level", range(5))
def test_the_area_grows_by_an_eighth_of_its_width_towards_the_base(level: int) -> None:
    environment = ClosedLoop(level=level)
    environment.reset(seed=0)
    places = []
    for _ in range(40):
        environment.reset()
        places.append(environment._object_position())
    x, y, z = np.array(places).T
    assert (np.abs(x) <= 0.05).all()
    assert np.ptp(x) > 0.07
    assert (y <= 0.125).all()
    assert (y >= 0.125 - 0.0125 * level - 1e-9).all()
    assert np.ptp(y) >= 0.008 * level
    assert z == pytest.approx(0.015)


def test_eight_of_ten_pass_a_level_and_the_count_begins_anew() -> None:
    curriculum = Curriculum(4)
    for success in [False, False, False, *[True] * 7]:
        curriculum.add(success)
    assert curriculum.level == 0
    curriculum.add(True)
    assert curriculum.level == 1
    for _ in range(9):
        curriculum.add(True)
    assert curriculum.level == 1
    again = Curriculum(4)
    again.load(curriculum.state())
    for each in (curriculum, again):
        each.add(True)
    assert curriculum.state() == again.state() == {"level": 2, "recent": []}


@pytest.mark.parametrize(("observation", "channels"), [("depth", 1), ("rgb", 3), ("grey", 1)])
def test_pictures_show_the_box_under_the_camera(observation, channels: int) -> None:
    environment = ClosedLoop(observation=observation, privileged=True, level=0)
    seen, _ = environment.reset(seed=1)
    for step in range(30):
        seen, *_ = environment.step(steer(seen, step))
    picture = seen["picture"].astype(int)
    assert picture.shape == (channels, 64, 64)
    # Over the box: it lies on the middle line, nearer and of another colour than the table at its sides.
    row = picture[:, 30]
    assert (np.abs(row[:, 31] - row[:, 5]).sum()) > 10
    assert row[:, 5] == pytest.approx(row[:, 58], abs=2)
    if observation == "depth":
        depth = picture[0, 45, 2] / 255 * 0.5
        height, ray = 0.2212 - 0.030, 0.5 - np.arctan((45 - 31.5) / 77.25)
        assert depth == pytest.approx(height / np.cos(ray) * np.cos(ray - 0.5), abs=0.004)


def test_a_box_that_is_shifted_is_lifted_by_who_keeps_looking() -> None:
    """The same episodes: who steers to where the box was at first misses most, who follows it none."""
    environment = ClosedLoop(privileged=True, level=4, nudge=0.03)
    lifted = {"looks": 0, "does not": 0}
    for seed in range(4):
        lifted["looks"] += play(environment, seed)[2]["is_success"]
        began, left = environment.reset(seed=seed)[0]["state"][:2] * 0.1, [0.0, 0.0]
        left[:] = began.tolist()

        def blind(seen, _: int, left=left) -> np.ndarray:
            action = np.clip(np.array(left) / 0.01, -1, 1)
            left[:] = (np.array(left) - 0.01 * action).tolist()
            return action

        lifted["does not"] += play(environment, seed, policy=blind)[2]["is_success"]
    assert lifted["looks"] == 4
    assert lifted["does not"] < 2


def test_a_camera_may_sit_off_its_mount() -> None:
    plain, off = (ClosedLoop(level=4, **options) for options in ({}, {"mount_shift": 0.01, "mount_turn": 0.07}))
    for environment in (plain, off):
        environment.reset(seed=5)
    error = np.linalg.inv(plain.eye.mount) @ off.eye.mount
    assert np.linalg.norm(error[:3, 3]) == pytest.approx(0.01)
    assert np.arccos((np.trace(error[:3, :3]) - 1) / 2) == pytest.approx(0.07)
    assert off.interface() == plain.interface()  # nobody who acts knows
    assert np.array_equal(plain.hand.tip_pose(), off.hand.tip_pose())
    varied = ClosedLoop(level=4, mount_shift=0.01, varied=True)
    sizes = []
    for seed in range(4):
        varied.reset(seed=seed)
        sizes.append(float(np.linalg.norm((np.linalg.inv(plain.eye.mount) @ varied.eye.mount)[:3, 3])))
    assert len(set(sizes)) == 4
    assert max(sizes) <= 0.01


@pytest.mark.parametrize(("taught", "mounts"), [(False, 1), (True, 5)])
def test_who_is_taught_sees_from_another_mount_in_every_step(taught: bool, mounts: int) -> None:
    environment = ClosedLoop(level=4, privileged=True, mount_shift=0.01, mount_turn=0.07, varied=True, taught=taught)
    environment.reset(seed=5)
    seen = {environment.eye.mount.tobytes()}
    for _ in range(4):
        environment.step(np.zeros(2, np.float32))
        seen.add(environment.eye.mount.tobytes())
    assert len(seen) == mounts
