"""Trials of planners in scenes of one cell, for learners in another process: as outcomes to learn from, or side by side."""

from pathlib import Path
from typing import Any

from grasp_client.contract import Gripper, SceneRequest
from shared.outcome_codec import EncodedOutcome, encode_outcome
from sim_worker.grasp_poses import cell_error_of
from sim_worker.outcome_records import outcome_of
from sim_worker.planner_request import PlanningRequest
from sim_worker.planners import NamedPlanner, load_planner
from sim_worker.tasks.attempts import Attempt, run_scene_request
from sim_worker.world import SceneSpec, World

SEEDS = 2**32
"""Scenes of a set of trials: number `n` of seed s has the scene seed s * SEEDS + n."""


class Trials:
    """Attempts, one in a scene. models_dir: registry of planners of this process, read anew in every call.

    cell_error: see `cell_error_of`. kind, profile: of the scenes, see SceneSpec.
    """

    def __init__(
        self,
        num_envs: int = 1,
        cell_error: str = "",
        kind: str = "single",
        profile: str = "standard",
        models_dir: Path = Path("models"),
    ) -> None:
        if num_envs != 1:
            raise ValueError(f"trials run in one world of a process, not in {num_envs}")
        self.world, self.gripper, self.cell_error = World(), Gripper(), cell_error_of(cell_error)
        self.kind, self.profile, self.models_dir = kind, profile, models_dir

    def outcomes(self, planner: str, first: int, count: int, seed: int, exploration: float) -> list[EncodedOutcome]:
        """What `count` trials, from number `first` on, of scenes of training objects bring; none where nothing is planned."""
        found = []
        named = load_planner(planner, self.models_dir)
        for number in range(first, first + count):
            request = self._request(named, "train", seed, number, exploration)
            attempt = self._attempt(named, request)
            if attempt is not None:
                found.append(encode_outcome(outcome_of(attempt, request, f"refine-{seed}:{number}:0", "trials")))
        return found

    def compared(self, planners: list[str], object_set: str, first: int, count: int, seed: int) -> list[list[bool]]:
        """Whether the best grasp of each planner holds, in each scene."""
        named = [load_planner(planner, self.models_dir) for planner in planners]
        rows = []
        for number in range(first, first + count):
            attempts = (self._attempt(each, self._request(each, object_set, seed, number, 0.0)) for each in named)
            rows.append([bool(attempt and attempt.result.success) for attempt in attempts])
        return rows

    def close(self) -> None:
        self.world.close()

    def _request(self, named: NamedPlanner, object_set: str, seed: int, number: int, exploration: float) -> SceneRequest:
        scene: dict[str, Any] = {"kind": self.kind, "object_set": object_set, "profile": self.profile}
        asked = {"planner": named.name, "model_version": named.model_version, "exploration": exploration}
        return SceneRequest(id=f"refine-{seed}-{number}", seed=seed * SEEDS + number, **scene, **asked)

    def _attempt(self, named: NamedPlanner, request: SceneRequest) -> Attempt | None:
        spec = {name: getattr(request, name) for name in ("seed", "kind", "object_set", "profile")}
        scene = self.world.build(SceneSpec.model_validate(spec))
        task = run_scene_request(scene, request, self.gripper, cell_error=self.cell_error)
        event = next(task)
        assert isinstance(event, PlanningRequest)
        event = task.send(named.planner.plan(event.observation, event.request))
        return event if isinstance(event, Attempt) else None
