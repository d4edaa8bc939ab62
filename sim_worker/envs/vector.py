"""Several worlds in one process, that one curriculum makes harder together."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array

from sim_worker.envs.curriculum import Curriculum
from sim_worker.envs.hand_env import HandEnv


class Worlds(SyncVectorEnv):
    """Environments in turn, each begun anew in the step that ended its episode. `snapshot` and `restore` go on exactly."""

    envs: Sequence[HandEnv]  # type: ignore[assignment]

    def __init__(self, kind: type[HandEnv], num_envs: int = 1, **options: Any) -> None:
        first = kind(**options)
        self.curriculum: Curriculum = first.curriculum
        # `level` was for the curriculum, which all share from here on.
        shared = {name: value for name, value in options.items() if name != "level"}
        others = [kind(**shared, curriculum=self.curriculum) for _ in range(num_envs - 1)]
        super().__init__([partial(_itself, env) for env in (first, *others)], autoreset_mode=AutoresetMode.SAME_STEP)

    @property
    def interface(self) -> dict[str, Any]:
        """What a policy of these worlds must be told to act elsewhere, as JSON."""
        return self.envs[0].interface()

    def snapshot(self) -> dict[str, Any]:
        """All episodes so far and the curriculum, as JSON."""
        return {"episodes": [env.snapshot() for env in self.envs], "curriculum": self.curriculum.state()}

    def restore(self, snapshot: dict[str, Any]) -> Any:
        """Do the episodes of a snapshot again, exactly; the last observations of all."""
        self.reset(seed=0)
        found = [env.restore(each) for env, each in zip(self.envs, snapshot["episodes"], strict=True)]
        self.curriculum.load(snapshot["curriculum"])
        empty: Any = create_empty_array(self.single_observation_space, n=self.num_envs, fn=np.zeros)
        return concatenate(self.single_observation_space, found, empty)


def _itself(environment: HandEnv) -> HandEnv:
    return environment
