"""Simulated worlds of another process, as the learner sees them: send actions, learn meanwhile, fetch what came of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from trainer_job.rl.world_process import WorldProcess

Observations = dict[str, np.ndarray]


class RemoteWorlds(VecEnv):
    """`count` worlds of the installed environment `name`. Raises RuntimeError with what went wrong over there.

    level: of the curriculum, after the last step. interface: what an actor of this environment must be told (see its class).
    """

    def __init__(self, name: str, count: int, **options: Any) -> None:
        self._process = WorldProcess(name, count, **options)
        self.level = 0
        observations, actions, self.interface = self._process.ask("spaces")
        super().__init__(count, observations, actions)

    def reset(self) -> Observations:
        """All episodes from the seed given to `seed`; it holds for one reset."""
        found: Observations = self._process.ask("reset", self._seeds[0])
        self._reset_seeds()
        return found

    def step_async(self, actions: np.ndarray) -> None:
        self._process.send("step", actions)

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, ended, succeeded, self.level = self._process.receive()
        infos = [{"is_success": success} if end else {} for success, end in zip(succeeded, ended, strict=True)]
        return observations, rewards.astype(np.float32), ended, infos

    def snapshot(self) -> dict[str, Any]:
        """Where all episodes are, as JSON."""
        found: dict[str, Any] = self._process.ask("snapshot")
        return found

    def restore(self, snapshot: dict[str, Any]) -> Observations:
        """Go on from a snapshot exactly; the last observations."""
        found: Observations = self._process.ask("restore", snapshot)
        self.level = snapshot["curriculum"]["level"]
        return found

    def close(self) -> None:
        self._process.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        if attr_name != "render_mode":
            raise AttributeError(f"worlds of another process do not show {attr_name!r}")
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        raise AttributeError(f"{attr_name!r} of worlds of another process cannot be set: give it when they are made")

    def env_method(self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any) -> list[Any]:
        raise AttributeError(f"worlds of another process offer no method {method_name!r}")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        return [False] * self.num_envs


def succeeded(infos: Sequence[dict[str, Any]]) -> list[bool]:
    """Of the episodes that just ended: whether each succeeded."""
    return [info["is_success"] for info in infos if "is_success" in info]
