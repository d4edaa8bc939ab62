"""What all environments promise: gymnasium's interface, replay by seed, the whole arm as an option."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sim_worker.envs  # noqa: F401  (registers them)
from sim_worker.envs.vector import Worlds

IDS = [f"GraspLoop/{name}-v0" for name in ("ClosedLoop", "ClosedLoopAny", "Reach", "Refine")]
SEEDS_ACTIONS = "recommend using a symmetric and normalized space"
"""Reach keeps the bounds that its task was defined with."""


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_finds_nothing_wrong(name: str) -> None:
    environment = gymnasium.make(name, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=f".*{SEEDS_ACTIONS}")
        check_env(environment.unwrapped)


def same(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return np.array_equal(one, other)


@pytest.mark.parametrize("name", IDS)
def test_a_seed_and_its_actions_give_the_same_again(name: str) -> None:
    fresh, used = gymnasium.make(name), gymnasium.make(name)
    used.reset(seed=7)
    for _ in range(3):  # what happened before must leave no trace
        if used.step(used.action_space.sample())[2]:
            used.reset()
    fresh.action_space.seed(0)
    actions = [fresh.action_space.sample() for _ in range(25)]
    assert same(fresh.reset(seed=1)[0], used.reset(seed=1)[0])
    for action in actions:
        one, other = fresh.step(action), used.step(action)
        assert same(one[0], other[0])
        assert one[1:4] == other[1:4]
        if one[2]:
            assert same(fresh.reset()[0], used.reset()[0])


@pytest.mark.parametrize("name", IDS)
def test_the_whole_arm_is_an_option(name: str) -> None:
    environment = gymnasium.make(name, hand="arm")
    observation, _ = environment.reset(seed=3)
    assert environment.observation_space.contains(observation)
    observation, reward, *_ = environment.step(np.zeros(environment.action_space.shape, np.float32))
    assert environment.observation_space.contains(observation)
    assert np.isfinite(float(reward))


@pytest.mark.documents
def test_the_lines_of_the_page_make_a_library_learn() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "environments.md"
    [code] = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 10
    found: dict[str, object] = {}
    exec(code.replace("10_000", "102"), found)  # two steps of learning
    assert found["model"].num_timesteps == 102  # type: ignore[attr-defined]


def vector(count: int, **options) -> Worlds:
    worlds = gymnasium.make_vec("GraspLoop/ClosedLoop-v0", num_envs=count, **options).unwrapped
    assert isinstance(worlds, Worlds)
    return worlds


def test_vector_forms_go_on_exactly_from_a_snapshot() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (130, 3, 2)).astype(np.float32)
    one, other = (vector(3, privileged=True) for _ in range(2))
    one.reset(seed=5)
    for action in actions[:110]:  # an episode of every world, and a part of the next
        last = one.step(action)
    saved = one.snapshot()
    other.reset(seed=9)
    other.step(actions[0])
    assert same(other.restore(saved), last[0])
    for action in actions[110:]:
        here, there = one.step(action), other.step(action)
        assert same(here[0], there[0])
    assert other.snapshot() == one.snapshot()


def test_worlds_of_a_vector_share_one_curriculum() -> None:
    worlds = vector(2)
    for _ in range(8):
        worlds.envs[0].curriculum.add(True)
    worlds.envs[1].curriculum.add(False)
    worlds.envs[1].curriculum.add(False)
    assert [env.curriculum.level for env in worlds.envs] == [1, 1]
    whole = vector(2, level=4)
    assert [env.curriculum.level for env in whole.envs] == [4, 4]
