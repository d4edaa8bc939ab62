"""The learner goes on exactly from any kill, its actor acts as Stable-Baselines3 predicts, shaping leaves the best policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from trainer_job.rl.episodes import deterministic, stochastic
from trainer_job.rl.learner import CHECKPOINT, Learner
from trainer_job.rl.progress import Progress, Recipe

BEGUN = np.zeros(1, int)
TINY = Recipe(steps=220, worlds=2, random_steps=40, buffer=110, batch=8, evaluate_every=110, save_every=44)
"""Wraps its buffer round, passes ends of episodes, and is saved five times."""


def no_evaluation(actor, step: int) -> tuple[int, int]:
    return 4, step // 110


def outcome(learner: Learner) -> dict[str, torch.Tensor]:
    alpha = learner.model.log_ent_coef.detach()
    return {**learner.model.policy.state_dict(), "alpha": alpha, **learner.averaged.state_dict()}


class Killed(Exception):
    pass


@pytest.mark.parametrize("observation", ["depth", "rgb", "grey"])
def test_the_actor_alone_acts_as_the_learner_predicts(make_worlds, tmp_path: Path, observation) -> None:
    learner = Learner(make_worlds(observation=observation), replace(TINY, steps=60, save_every=1000), tmp_path)
    learner.learn(no_evaluation)
    channels = 3 if observation == "rgb" else 1
    pictures = np.random.default_rng(0).integers(0, 256, (32, channels, 64, 64), dtype=np.uint8)
    seen = {"picture": pictures, "state": np.random.default_rng(1).normal(size=(32, 4)).astype(np.float32)}
    predicted, _ = learner.model.predict(seen, deterministic=True)
    actor = learner.newest()
    assert np.abs(deterministic(actor)(pictures, BEGUN) - predicted).max() <= 1e-5
    assert np.ptp(predicted) > 1e-3
    with torch.no_grad():
        told = learner.position(learner._features().encoder(torch.as_tensor(pictures) / 255))
        assert torch.allclose(actor(torch.as_tensor(pictures))[:, 2:], told, atol=1e-5)
    if observation != "depth":
        return
    # Drawn actions scatter round the mean as the learner's do, whatever is seen.
    drawn = np.stack([stochastic(actor, seed)(pictures, BEGUN) for seed in range(200)])
    theirs = np.stack([learner.model.predict(seen, deterministic=False)[0] for _ in range(200)])
    assert drawn.mean() == pytest.approx(theirs.mean(), abs=0.03)
    assert drawn.std() == pytest.approx(theirs.std(), rel=0.05)


def test_the_averaged_actor_follows_the_newest_slowly(make_worlds, tmp_path: Path) -> None:
    learner = Learner(make_worlds(), replace(TINY, steps=44, averaging=0.9), tmp_path)
    before = learner.newest().state_dict()
    learner.learn(no_evaluation)  # two updates
    first, newest = learner.averaged.state_dict(), learner.newest().state_dict()
    name = "mean.weight"
    assert not torch.equal(newest[name], before[name])
    shares = (first[name] - before[name]).norm() / (newest[name] - before[name]).norm()
    assert 0.1 < shares < 0.2  # 0.1 of the first update and what it leaves of the second


def test_a_kill_anywhere_changes_nothing_but_time(make_worlds, tmp_path: Path, monkeypatch) -> None:
    whole = Learner(make_worlds(), TINY, tmp_path / "whole")
    whole.learn(no_evaluation)
    expected, evaluations = outcome(whole), whole.progress.evaluations
    kills = iter(np.cumsum(np.random.default_rng(0).integers(20, 45, 3)))
    usual = Learner._round
    rounds, kill = 0, next(kills)

    def fragile(self: Learner, observations):
        nonlocal rounds, kill
        rounds += 1
        following = usual(self, observations)
        if rounds == kill:
            kill = next(kills, 0)
            raise Killed
        return following

    monkeypatch.setattr(Learner, "_round", fragile)
    killed = 0
    while True:
        learner = Learner(make_worlds(), TINY, tmp_path / "killed")
        try:
            learner.learn(no_evaluation)
            break
        except Killed:
            killed += 1
            learner.worlds.close()
    assert killed == 3
    found = outcome(learner)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert learner.progress.evaluations == evaluations
    assert learner.progress.steps == TINY.steps


def test_it_learns_what_a_hand_that_knows_the_state_would_do(make_worlds, tmp_path: Path) -> None:
    recipe = replace(TINY, teacher=True, updates=4, batch=32)
    learner = Learner(make_worlds(taught=True), recipe, tmp_path)
    untaught, critic = learner.newest(), [value.clone() for value in learner.model.policy.critic.parameters()]
    learner.learn(no_evaluation)
    seen = learner.replay.sample(160).observations

    def error(actor) -> float:
        told = deterministic(actor)(seen["picture"].numpy(), BEGUN)
        return float(np.square(told - seen["advice"].numpy()).mean())

    assert error(learner.newest()) < 0.75 * error(untaught)
    assert all(map(torch.equal, learner.model.policy.critic.parameters(), critic))
    assert learner.worlds.level == learner.worlds.interface["levels"]  # no curriculum


def test_a_teacher_steers_at_first_and_one_of_four_worlds_on(make_worlds, tmp_path: Path) -> None:
    recipe = replace(TINY, teacher=True, worlds=4, random_steps=4)
    learner = Learner(make_worlds(4, taught=True), recipe, tmp_path)
    learner.random = Still()  # type: ignore[assignment]
    seen = learner._begin()
    seen["advice"][:] = 0.25, -0.5
    assert np.allclose(learner._strayed(seen), seen["advice"])
    learner.progress.steps = 4
    own, _ = learner.model.predict(seen, deterministic=True)
    assert np.allclose(learner._strayed(seen), [*own[:3], seen["advice"][3]])


class Still:
    """In place of chance: no strays."""

    def normal(self, size) -> np.ndarray:
        return np.zeros(size)


def test_a_checkpoint_of_another_recipe_is_not_gone_on_from(make_worlds, tmp_path: Path) -> None:
    Learner(make_worlds(), replace(TINY, steps=80), tmp_path).learn(no_evaluation)
    assert (tmp_path / CHECKPOINT).is_file()
    longer = Learner(make_worlds(), replace(TINY, learning_rate=1e-5), tmp_path)
    longer._round(longer._begin())
    assert longer.progress.steps == 82  # how long and how fast is no part of what it is
    policy = longer.model.policy
    for optimizer in (longer.auxiliary, policy.actor.optimizer, policy.critic.optimizer):
        assert [group["lr"] for group in optimizer.param_groups] == [1e-5]
    other = Learner(make_worlds(), replace(TINY, gamma=0.9), tmp_path)
    other._begin()
    assert other.progress.steps == 0


def test_shaping_adds_the_difference_of_a_potential_and_nothing_else(make_worlds, tmp_path: Path) -> None:
    recipe = replace(TINY, shaping=2.0, steps=220, random_steps=10_000, buffer=10_000)
    learner = Learner(make_worlds(level=4), recipe, tmp_path)
    learner.learn(no_evaluation)
    replay, gamma = learner.replay, TINY.gamma
    assert replay.size() == 220
    everything = replay._get_samples(np.arange(220))
    rounds, world = 109 - np.arange(220) // 2, np.arange(220) % 2
    returns = np.zeros(2)
    for place in np.flatnonzero(rounds < 100):  # the first episode of each world
        returns[world[place]] += gamma ** rounds[place] * everything.rewards[place, 0].item()
    start = replay.arrays["state"][0][:, :2]
    assert replay.arrays["ended"][99].all()
    assert everything.dones.sum() == 2
    assert returns == pytest.approx(gamma**99 * replay.arrays["rewards"][99] + 2 * np.linalg.norm(start, axis=1), abs=1e-4)


def test_the_policy_is_kept_that_holds_its_level() -> None:
    progress = Progress()
    for step, successes in enumerate([64, 10, 50, 55, 52, 64, 20, 30]):
        layer = nn.Linear(1, 1)
        nn.init.constant_(layer.weight, step)
        progress.note((step, 64, successes), layer)  # whatever has weights
    assert progress.kept == 5  # not the lucky first: 52 is the least of the three that end here
    assert progress.best["weight"].item() == 5
    assert progress.persistence(5) == 52 / 64
    assert progress.persistence(1) == 0


@pytest.mark.processes
def test_worlds_of_a_process_are_those_of_this_one(make_worlds, threads, monkeypatch: pytest.MonkeyPatch) -> None:
    apart = make_worlds()
    with pytest.raises(RuntimeError, match="unexpected keyword argument 'colour'"):
        make_worlds(colour="red")
    threads(monkeypatch)
    beside = make_worlds()
    assert beside.interface == apart.interface
    for each in (apart, beside):
        each.seed(3)
        each.reset()
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 2, 2)).astype(np.float32)
    for action in actions:
        (seen, rewards, *_), (others, their_rewards, *_) = apart.step(action), beside.step(action)
        assert all(np.array_equal(seen[name], others[name]) for name in seen)
        assert np.array_equal(rewards, their_rewards)
