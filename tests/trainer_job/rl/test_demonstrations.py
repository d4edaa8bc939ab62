"""A learner starts from what a person played, and only of its own environment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trainer_job.rl.demonstrations import Episode, fill, read_demonstrations
from trainer_job.rl.learner import Learner
from trainer_job.rl.progress import Recipe

RECIPE = Recipe(steps=32, worlds=2, buffer=200, batch=8, random_steps=0, evaluate_every=1000, save_every=16)


def episode(number: int, steps: int) -> Episode:
    count = np.arange(steps + 1)
    seen = {
        "picture": np.broadcast_to((10 * number + count)[:, None, None, None], (steps + 1, 1, 64, 64)).astype(np.uint8),
        "state": np.broadcast_to((10.0 * number + count)[:, None], (steps + 1, 4)).astype(np.float32),
    }
    actions = np.full((steps, 2), number, np.float32)
    return Episode(seen, actions, np.arange(steps) == steps - 1, np.arange(steps) == steps - 1)


def write(folder: Path, played: Episode, interface: dict, success: bool = True) -> None:
    folder.mkdir(parents=True)
    for name, array in {**played.seen, "actions": played.actions, "rewards": played.rewards, "ended": played.ended}.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "about.json").write_text(json.dumps({"is_success": success, "interface": interface}))


def test_episodes_lie_side_by_side_and_end_before_the_worlds_begin(make_worlds, tmp_path: Path) -> None:
    learner = Learner(make_worlds(), RECIPE, tmp_path)
    first = learner.worlds.reset()
    assert fill(learner.replay, [episode(1, 3), episode(2, 4), episode(3, 2)], first) == 4
    arrays = learner.replay.arrays
    assert learner.replay.size() == 8
    assert arrays["actions"][:4, 0, 0].tolist() == [1, 1, 3, 3]  # a row's oldest steps are left out
    assert arrays["actions"][:4, 1, 0].tolist() == [2, 2, 2, 2]
    assert arrays["ended"][:4].tolist() == [[False, False], [True, False], [False, False], [True, True]]
    assert arrays["state"][:4, 0, 0].tolist() == [11, 12, 30, 31]
    assert np.array_equal(arrays["picture"][4], first["picture"])
    with pytest.raises(ValueError, match="at least 2 episodes"):
        fill(learner.replay, [episode(1, 3)], first)


def test_a_learner_starts_from_them_and_goes_on_exactly(make_worlds, tmp_path: Path) -> None:
    shown = [episode(number, 5) for number in (1, 2)]
    evaluate = lambda actor, step: (1, 0)  # noqa: E731
    whole = Learner(make_worlds(), RECIPE, tmp_path / "whole", shown)
    whole.learn(evaluate)
    assert whole.replay.size() == 32 + 10
    half = Learner(make_worlds(), Recipe(**{**vars(RECIPE), "steps": 16}), tmp_path / "half", shown)
    half.learn(evaluate)
    again = Learner(make_worlds(), RECIPE, tmp_path / "half", shown)
    again.learn(evaluate)
    for name, value in whole.newest().state_dict().items():
        assert np.array_equal(value, again.newest().state_dict()[name]), name
    bare = Learner(make_worlds(), RECIPE, tmp_path / "half")
    assert bare.identity != again.identity


def test_a_taught_policy_learns_what_the_person_did(make_worlds, tmp_path: Path) -> None:
    taught = Recipe(**{**vars(RECIPE), "teacher": True})
    learner = Learner(make_worlds(taught=True), taught, tmp_path, [episode(1, 3), episode(2, 3)])
    learner.learn(lambda actor, step: (1, 0))
    assert learner.replay.arrays["advice"][:3, :, 0].tolist() == [[1, 2]] * 3


def test_what_was_played_elsewhere_is_refused(make_worlds, tmp_path: Path) -> None:
    interface = make_worlds().interface
    write(tmp_path / "good" / "episode-000001", episode(1, 3), interface)
    write(tmp_path / "good" / "episode-000002", episode(2, 3), interface, success=False)
    assert [len(each.actions) for each in read_demonstrations(tmp_path / "good", interface)] == [3]
    write(tmp_path / "other" / "episode-000001", episode(1, 3), {**interface, "mount": [[1.0]]})
    with pytest.raises(ValueError, match="another mount"):
        read_demonstrations(tmp_path / "other", interface)
    with pytest.raises(ValueError, match="no episode"):
        read_demonstrations(tmp_path / "empty", interface)
