"""What a worker counts and tells."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from sim_worker.tasks.attempts import Attempt, NoPlan
from sim_worker.tasks.goal_episode import Motion
from sim_worker.tasks.goal_request import GoalStep

RECENT = 200


@dataclass
class Counters:
    """Attempts and what came of them since this worker started; `recent` holds the last RECENT of the best grasps' results."""

    attempts: int = 0
    successes: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    no_plan: int = 0
    scenes: int = 0
    broken_scenes: int = 0
    refused_requests: int = 0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))

    def count(self, event: Attempt | NoPlan | GoalStep) -> None:
        if isinstance(event, NoPlan):
            self.no_plan += 1
            return
        if isinstance(event, GoalStep):
            self._count_motion(event.motion)
            return
        self.attempts += 1
        self.successes += event.result.success
        if event.result.failure:
            self.failures[event.result.failure] += 1
        if event.choice.rank == 0 and not event.choice.exploration:
            self.recent.append(event.result.success)

    def _count_motion(self, motion: Motion) -> None:
        """Of getting one thing: pushes count as attempts too."""
        self.attempts += 1
        self.successes += motion.success
        if motion.failure:
            self.failures[motion.failure] += 1
        if motion.move.kind == "grasp":
            self.recent.append(motion.success)

    def status(self) -> dict[str, Any]:
        """For the board that people look at; the recent rate leaves exploration out."""
        counts = {name: value for name, value in vars(self).items() if name != "recent"}
        return {**counts, "recent_attempts": len(self.recent), "recent_successes": sum(self.recent)}
