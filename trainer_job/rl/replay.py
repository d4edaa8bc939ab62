"""Steps to learn from, in files: a process that is killed loses none of them, and memory is the page cache's affair."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.lib.format import open_memmap
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples

from trainer_job.rl.worlds import Observations


class FileReplay(BaseBuffer):
    """The last `buffer_size` steps of `n_envs` worlds, each picture once, in `folder`/*.npy.

    Rings of `spare` rounds more than are drawn from: what is written after a checkpoint, before a kill, overwrites nothing that
    is drawn from right after the checkpoint, so that a learner who goes on from there draws the same.

    shaping: rewards are given the difference of a potential, -shaping times the length of the first `potential` numbers of
    `state`, the way to the object. It leaves the best policy the best (Ng, Harada and Russell 1999), where an episode's end is
    0.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        *,
        folder: Path,
        spare: int,
        gamma: float,
        shaping: float,
        potential: int,
        seed: int,
    ) -> None:
        super().__init__(buffer_size, observation_space, action_space, device, n_envs)
        self.rounds = buffer_size // n_envs
        self.gamma, self.shaping, self.potential = gamma, shaping, potential
        self.slots = self.rounds + spare + 1
        self.random = np.random.default_rng(seed)
        self.at = 0
        """Rounds so far; what was last seen lies in slot `at`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.arrays: dict[str, Any] = {}
        for name, space in observation_space.spaces.items():
            self.arrays[name] = self._open(folder / f"{name}.npy", space.shape or (), space.dtype)
        self.arrays["actions"] = self._open(folder / "actions.npy", action_space.shape, np.dtype(np.float32))
        self.arrays["rewards"] = self._open(folder / "rewards.npy", (), np.dtype(np.float32))
        self.arrays["ended"] = self._open(folder / "ended.npy", (), np.dtype(np.bool_))
        self.seen = list(observation_space.spaces)

    def _open(self, path: Path, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """The file as it is, if it fits, else a new one."""
        wanted = (self.slots, self.n_envs, *shape)
        if path.is_file():
            found: np.ndarray = open_memmap(path, mode="r+")
            if found.shape == wanted and found.dtype == dtype:
                return found
        made: np.ndarray = open_memmap(path, mode="w+", dtype=dtype, shape=wanted)
        return made

    def begin(self, observations: Observations) -> None:
        """What was seen first."""
        for name in self.seen:
            self.arrays[name][self.at % self.slots] = observations[name]

    def add(self, actions: np.ndarray, rewards: np.ndarray, ended: np.ndarray, following: Observations) -> None:
        """What was done where it was last looked, what it brought (N,), and what was seen then."""
        for name, values in (("actions", actions), ("rewards", rewards), ("ended", ended)):
            self.arrays[name][self.at % self.slots] = values
        self.at += 1
        self.begin(following)

    def state(self) -> dict[str, Any]:
        """Writes what is not yet on disk; what `load` takes, as JSON."""
        for array in self.arrays.values():
            array.flush()
        return {"at": self.at, "random": self.random.bit_generator.state}

    def load(self, state: dict[str, Any]) -> None:
        self.at, self.random.bit_generator.state = state["at"], state["random"]

    def size(self) -> int:
        return min(self.at, self.rounds) * self.n_envs

    def sample(self, batch_size: int, env: Any = None) -> DictReplayBufferSamples:
        return self._get_samples(self.random.integers(0, self.size(), batch_size), env)

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> DictReplayBufferSamples:  # type: ignore[override]
        rounds, world = self.at - 1 - batch_inds // self.n_envs, batch_inds % self.n_envs
        here, then = rounds % self.slots, (rounds + 1) % self.slots
        now = {name: self.arrays[name][here, world] for name in self.seen}
        following = {name: self.arrays[name][then, world] for name in self.seen}
        ended = self.arrays["ended"][here, world].astype(np.float32)
        before, after = (
            -self.shaping * np.linalg.norm(each["state"][:, : self.potential], axis=1) for each in (now, following)
        )
        rewards = self.arrays["rewards"][here, world] + self.gamma * after * (1 - ended) - before
        return DictReplayBufferSamples(
            {name: self.to_torch(value) for name, value in now.items()},
            self.to_torch(self.arrays["actions"][here, world]),
            {name: self.to_torch(value) for name, value in following.items()},
            self.to_torch(ended[:, None]),
            self.to_torch(rewards.astype(np.float32)[:, None]),
        )
