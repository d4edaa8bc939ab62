"""Episodes of a policy in simulated worlds: played, counted and drawn."""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from shared.features.terminal import colours
from shared.networks.grasp_actor import GraspActor
from shared.networks.picture_actor import PictureActor
from trainer_job.rl.worlds import RemoteWorlds

Actor: TypeAlias = PictureActor | GraspActor
"""What a policy is kept as."""
Policy = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Pictures (N, channels, H, W) uint8, and the steps (N,) that each episode has taken, to actions (N, actions) float32."""
LOOK = 25
"""Steps after which one plan is made: the first pictures do not show the whole area, and nothing has moved yet."""
EVERY = 10
"""Steps between the pictures of a strip."""
ENLARGED, SEEN = 4, 240
"""Times, in a recording of episodes; rows that pictures side by side have at least."""
MS_PER_STEP = 40
MS_PER_SCENE = 1_500
ENDS = {True: (60, 180, 75), False: (220, 60, 50)}
"""Colours of a frame round what succeeded and what failed."""


ENVIRONMENTS = ("closed-loop", "closed-loop-any")
"""That a policy is learned in: entry points of `grasploop.environments`."""


def model_name(environment: str, observation: str) -> str:
    """Of a policy in the registry."""
    return f"{environment}-{observation}"


def world_options(options: argparse.Namespace) -> dict[str, Any]:
    """What worlds are made with, of a command's options. Raises ValueError for disturbances that an environment has itself."""
    made = {"observation": options.observation, "hand": options.hand, "privileged": True}
    disturbed = {"nudge": options.nudge, "mount_shift": options.mount_shift, "mount_turn": math.radians(options.mount_turn)}
    if options.environment == "closed-loop":
        return made | disturbed
    if any(disturbed.values()):
        raise ValueError(
            f"--nudge, --mount-shift and --mount-turn are options of closed-loop: {options.environment} shifts things by itself"
        )
    return made


@dataclass(frozen=True)
class Episode:
    """pictures: what the policy saw, (channels, H, W) uint8 each; kept for the first episodes only."""

    success: bool
    pictures: list[np.ndarray]


def deterministic(actor: Actor) -> Policy:
    """The most likely action."""

    @torch.no_grad()
    def act(pictures: np.ndarray, steps: np.ndarray) -> np.ndarray:
        actions: np.ndarray = actor(torch.as_tensor(pictures))[:, :-3].numpy()
        return actions

    return act


def stochastic(actor: Actor, seed: int) -> Policy:
    """Actions drawn as they are while learning."""
    noise = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def act(pictures: np.ndarray, steps: np.ndarray) -> np.ndarray:
        actions: np.ndarray = actor.sample(torch.as_tensor(pictures), noise).numpy()
        return actions

    return act


def open_loop(actor: Actor, interface: dict[str, Any]) -> Policy:
    """As `deterministic` for LOOK steps, then one plan: to where that picture shows the object, whatever follows."""
    movement, still = np.array(interface["movement"])[:2], np.array(interface["still"])[:2]
    position = np.array(interface["position"])
    left = np.zeros((0, 2))
    """(N, 2) m that each hand has yet to go, along x and y of its frame."""

    @torch.no_grad()
    def act(pictures: np.ndarray, steps: np.ndarray) -> np.ndarray:
        nonlocal left
        told = actor(torch.as_tensor(pictures)).numpy()
        planned = (told[:, -3:] @ position.T)[:, :2]
        left = np.where(steps[:, None] <= LOOK, planned, left) if len(left) == len(planned) else planned
        blind = np.clip((left - still) @ np.linalg.pinv(movement).T, -1, 1)
        left = left - blind @ movement.T - still
        actions: np.ndarray = np.where(steps[:, None] < LOOK, told[:, :-3], blind).astype(np.float32)
        return actions

    return act


def play(
    worlds: RemoteWorlds,
    policy: Policy,
    episodes: int,
    seed: int,
    pictured: int = 0,
    watch: Callable[[np.ndarray], None] | None = None,
) -> Iterator[Episode]:
    """Episodes as they end, the same for the same seed and a deterministic policy.

    Each world plays an equal share: counted as they come, short ones would count for more. pictured: of so many episodes the
    pictures are kept. watch: is shown each picture of the first world.
    """
    worlds.seed(seed)
    observations = worlds.reset()
    left = [episodes // worlds.num_envs + (world < episodes % worlds.num_envs) for world in range(worlds.num_envs)]
    seen: list[list[np.ndarray]] = [[] for _ in left]
    steps = np.zeros(worlds.num_envs, int)
    while any(left):
        pictures = observations["picture"]
        for world in range(min(pictured, len(left))):
            seen[world].append(pictures[world])
        if watch is not None:
            watch(pictures[0])
        observations, _, ended, infos = worlds.step(policy(pictures, steps))  # type: ignore[assignment]
        steps = np.where(ended, 0, steps + 1)
        for world, end in enumerate(ended):
            if not end or not left[world]:
                continue
            left[world] -= 1
            yield Episode(infos[world]["is_success"], seen[world])
            pictured -= bool(seen[world])
            seen[world] = []


def strip(episodes: Sequence[Episode], path: Path) -> None:
    """Draws a row per episode: every tenth picture and the last one, in a green frame where it succeeded, else in a red one."""
    rows = []
    for episode in episodes:
        shown = [*episode.pictures[::EVERY], episode.pictures[-1]]
        rows.append(np.hstack([_framed(colours(picture), episode.success) for picture in shown]))
    width = max(row.shape[1] for row in rows)
    image = np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def record(episodes: Sequence[Episode], path: Path) -> None:
    """Writes an animated GIF of episodes, one after another."""
    frames = [
        Image.fromarray(np.kron(_framed(colours(picture), episode.success), np.ones((ENLARGED, ENLARGED, 1), np.uint8)))
        for episode in episodes
        for picture in episode.pictures
    ]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=MS_PER_STEP, loop=0)


def record_beside(pictures: Sequence[Sequence[np.ndarray]], held: Sequence[Sequence[bool]], path: Path) -> None:
    """Writes an animated GIF of scenes: pictures (H, W, 3) of each side by side, framed by whether each held."""
    frames = [
        Image.fromarray(np.hstack([_framed(_enlarged(image), success) for image, success in zip(*scene, strict=True)]))
        for scene in zip(pictures, held, strict=False)
    ]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=MS_PER_SCENE, loop=0)


def _enlarged(image: np.ndarray) -> np.ndarray:
    times = math.ceil(SEEN / image.shape[0])
    return np.kron(image, np.ones((times, times, 1), image.dtype))


def _framed(image: np.ndarray, success: bool) -> np.ndarray:
    framed = np.empty((image.shape[0] + 4, image.shape[1] + 4, 3), np.uint8)
    framed[:] = ENDS[success]
    framed[2:-2, 2:-2] = image
    return framed
