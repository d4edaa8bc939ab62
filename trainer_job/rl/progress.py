"""How a policy is to be learned, how far that is, and which of its actors is kept."""

from collections import deque
from dataclasses import dataclass, field

import torch

from trainer_job.rl.episodes import Actor

RECENT_EPISODES = 100


@dataclass(frozen=True)
class Recipe:
    """How to learn; steps count over all worlds. A checkpoint goes on only under the same recipe.

    evaluate_every, save_every: steps. averaging: share of the averaged actor that an update leaves. nudge (m), mount_shift (m),
    mount_turn (rad): by up to so much is the box shifted on the way and the camera off its mount, see the environment. teacher:
    learn what a hand that knows the state would do where the policy gets to, not by reward (Ross, Gordon and Bagnell 2011).
    """

    steps: int = 30_000
    seed: int = 0
    worlds: int = 8
    random_steps: int = 1_600
    buffer: int = 30_000
    batch: int = 64
    updates: int = 1
    learning_rate: float = 1e-3
    gamma: float = 0.99
    tau: float = 0.01
    entropy: float = 0.1
    shaping: float = 1.0
    averaging: float = 0.995
    evaluate_every: int = 2_500
    evaluate_episodes: int = 64
    save_every: int = 800
    nudge: float = 0.0
    mount_shift: float = 0.0
    mount_turn: float = 0.0
    teacher: bool = False


@dataclass
class Progress:
    """What an evaluation or a step changes. evaluations: (step, episodes, successes). seconds: of learning, evaluations apart.

    recent: how the last episodes ended. best: weights of the actor that is kept, of evaluation number `kept`.
    """

    steps: int = 0
    seconds: float = 0.0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT_EPISODES))
    evaluations: list[tuple[int, int, int]] = field(default_factory=list)
    kept: int = -1
    best: dict[str, torch.Tensor] = field(default_factory=dict)

    def persistence(self, number: int) -> float:
        """Least success rate of the three evaluations that end with this one; with fewer, 0."""
        last = self.evaluations[max(0, number - 2) : number + 1]
        return min(found / episodes for _, episodes, found in last) if len(last) == 3 else 0.0

    def note(self, evaluation: tuple[int, int, int], actor: Actor) -> None:
        """Keeps the actor if it holds its level at least as long as the one kept so far: a single good evaluation may be luck,
        and while the curriculum moves good policies come and go."""
        self.evaluations.append(evaluation)
        number = len(self.evaluations) - 1
        if self.kept < 0 or self._worth(number) >= self._worth(self.kept):
            self.kept, self.best = number, {name: value.clone() for name, value in actor.state_dict().items()}

    def _worth(self, number: int) -> tuple[float, float]:
        _, episodes, found = self.evaluations[number]
        return self.persistence(number), found / episodes
