"""Episodes that a person plays, recorded as learners store their own steps.

An episode is a folder: `picture.npy` (T + 1, channels, 64, 64) and `state.npy` (T + 1, ...), what was seen before each step
and after the last; `actions.npy` (T, ...), `rewards.npy` (T,), `ended.npy` (T,); `about.json`: how it ended, and the
environment's interface, by which a learner knows what it may learn from.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shared.durable import array_bytes, unfinished_folder
from sim_worker.envs.hand_env import HandEnv
from sim_worker.teleop.command import Command
from sim_worker.teleop.sources import CommandSource

PREFIX = "episode-"


@dataclass
class Recording:
    """Of one episode."""

    pictures: list[np.ndarray]
    states: list[np.ndarray]
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    def add(self, action: np.ndarray, reward: float, seen: dict[str, np.ndarray]) -> None:
        """A step, and what was seen after it."""
        self.actions.append(action)
        self.rewards.append(reward)
        self.pictures.append(seen["picture"])
        self.states.append(seen["state"])

    def write(self, folder: Path, about: dict[str, Any]) -> Path:
        """Into a new folder of `folder`; its path."""
        number = 1 + max((int(path.name.removeprefix(PREFIX)) for path in folder.glob(f"{PREFIX}*")), default=0)
        ended = np.arange(len(self.actions)) == len(self.actions) - 1
        arrays = {
            "picture": np.stack(self.pictures), "state": np.stack(self.states), "actions": np.stack(self.actions),
            "rewards": np.array(self.rewards, np.float32), "ended": ended,
        }  # fmt: skip
        target = folder / f"{PREFIX}{number:06d}"
        with unfinished_folder(folder / f".unfinished-{number}") as temporary:
            for name, array in arrays.items():
                (temporary / f"{name}.npy").write_bytes(array_bytes(array))
            (temporary / "about.json").write_text(json.dumps(about))
            temporary.rename(target)
        return target


def steer(
    environment: HandEnv,
    source: CommandSource,
    episodes: int,
    out: Path,
    seed: int,
    hertz: float,
    shown: Callable[[np.ndarray], None] = lambda picture: None,
    told: Callable[[Command], None] = lambda command: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[bool]:
    """Plays and records up to so many episodes, whether each succeeded; an episode that was broken off is not kept.

    environment: privileged. hertz: steps per second; 0: as fast as they can be. shown: is given each picture; told: each
    command.
    """
    out.mkdir(parents=True, exist_ok=True)
    size = (environment.action_space.shape or (0,))[0]
    results: list[bool] = []
    while len(results) < episodes:
        seen, _ = environment.reset(seed=seed + len(results))
        recording, over = Recording([seen["picture"]], [seen["state"]]), False
        info: dict[str, Any] = {}
        while not over:
            due = clock() + (1 / hertz if hertz else 0.0)
            shown(seen["picture"])
            if due > clock():
                sleep(due - clock())
            command = source.read()
            told(command)
            if command.end:
                return results
            action = command.action(size)
            seen, reward, over, _, info = environment.step(action)
            recording.add(action, reward, seen)
        recording.write(out, {"is_success": bool(info["is_success"]), "interface": environment.interface()})
        results.append(bool(info["is_success"]))
    return results
