"""Episodes that a person played (`grasploop teleop`), as a learner's first steps."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer_job.rl.replay import FileReplay
from trainer_job.rl.worlds import Observations

FILES = ("picture", "state", "actions", "rewards", "ended")


@dataclass(frozen=True)
class Episode:
    """T + 1 observations, by name, and T actions, rewards and ends."""

    seen: dict[str, np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    ended: np.ndarray


def read_demonstrations(folder: Path, interface: dict[str, Any]) -> list[Episode]:
    """The episodes of a folder that succeeded. Raises ValueError without any, and for those of another environment, camera or
    hand."""
    found = []
    for path in sorted(folder.glob("episode-*")):
        about = json.loads((path / "about.json").read_bytes())
        different = [key for key in interface if about["interface"].get(key) != json.loads(json.dumps(interface[key]))]
        if different:
            raise ValueError(f"{path} was played elsewhere: another {', '.join(different)}")
        if about["is_success"]:
            arrays = {name: np.load(path / f"{name}.npy") for name in FILES}
            seen = {name: arrays[name] for name in ("picture", "state")}
            found.append(Episode(seen, arrays["actions"], arrays["rewards"], arrays["ended"]))
    if not found:
        raise ValueError(f"no episode in {folder} succeeded: `grasploop teleop` records some")
    return found


def fill(replay: FileReplay, episodes: Sequence[Episode], first: Observations) -> int:
    """Adds episodes in front of what worlds show first, side by side as if each world had played some; the rounds.

    What does not come out even is left out, from the beginnings: each row must end as its last episode does. Where advice is
    learned from, it is what the person did.
    """
    worlds, advised = replay.n_envs, "advice" in first
    rows = [[step for episode in episodes[world::worlds] for step in _steps(episode, advised)] for world in range(worlds)]
    rounds = min(len(row) for row in rows)
    if not rounds:
        raise ValueError(f"expected at least {worlds} episodes, one for each world, got {len(episodes)}")
    rows = [row[-rounds:] for row in rows]
    for number in range(rounds):
        _, actions, rewards, ended = zip(*(row[number] for row in rows), strict=True)
        if number == 0:
            replay.begin(_seen(rows, 0))
        following = first if number + 1 == rounds else _seen(rows, number + 1)
        replay.add(np.stack(actions), np.array(rewards, np.float32), np.array(ended), following)
    return rounds


def _seen(rows: Sequence[Sequence[Any]], number: int) -> Observations:
    """What all worlds show before a step."""
    seen = [row[number][0] for row in rows]
    return {name: np.stack([each[name] for each in seen]) for name in seen[0]}


def _steps(episode: Episode, advised: bool) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray, float, bool]]:
    for step in range(len(episode.actions)):
        seen = {name: values[step] for name, values in episode.seen.items()}
        seen |= {"advice": episode.actions[step]} if advised else {}
        yield seen, episode.actions[step], float(episode.rewards[step]), bool(episode.ended[step])
