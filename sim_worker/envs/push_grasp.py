"""`GraspLoop/PushGrasp-v0`: get one thing out of clutter by pushes and grasps at cells of a map, as published work does.

Xu et al., Efficient Learning of Goal-Oriented Push-Grasping Synergy in Clutter, RA-L 2021: maps of 224 x 224 cells of 2 mm, an
action is push or grasp, one of 16 directions and a cell. An episode ends when the goal is held (reward 1) or has left the
workspace, and is cut off after 15 motions. What else is lifted is taken away.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from grasp_client.contract import Gripper
from shared.maps.orthographic import CELLS, OrthographicMaps, place_of_cell
from sim_worker.tasks.goal_episode import Decision, GoalRunner, Look, Motion, Move
from sim_worker.tasks.goals import goal_of
from sim_worker.tasks.map_actions import grasp_at, push_at
from sim_worker.world import SceneError, SceneSpec, World
from sim_worker.world.camera.orthographic import orthographic_maps
from sim_worker.world.simulation.spec import ProfileName

ROTATIONS = 16
PUSH, GRASP = 0, 1
HEIGHT_UNIT = 0.001
"""m of a step of the observed height."""
DRAWS = 50
"""Scenes in a row without a visible goal before the set is given up."""

PLANES = {"colour": 3, "height": 1, "goal": 1}
"""Of an observation."""
Observation = dict[str, np.ndarray]


class PushGrasp(gymnasium.Env[Observation, np.ndarray]):
    """Observations, uint8: `colour` (3, 224, 224), `height` (1, 224, 224) in mm, `goal` (1, 224, 224), 255 on the goal;
    rows along y and columns along x of the base frame. Actions: [0 push or 1 grasp, direction in steps of 22.5 degrees,
    row, column]; a push starts at its cell, a grasp closes along its direction.

    kind: `enclosed`, `scattered`, or `case` with a preset file. count: things, none: the usual number.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012  (declared so by gymnasium)

    def __init__(
        self,
        kind: Literal["enclosed", "scattered", "case"] = "enclosed",
        object_set: str = "blocks",
        profile: ProfileName = "standard",
        count: int | None = None,
        case: Path | None = None,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        maps: dict[str, spaces.Space[Any]] = {
            name: spaces.Box(0, 255, (planes, CELLS, CELLS), np.uint8) for name, planes in PLANES.items()
        }
        self.observation_space: spaces.Space[Any] = spaces.Dict(maps)
        self.action_space: spaces.Space[Any] = spaces.MultiDiscrete([2, ROTATIONS, CELLS, CELLS])
        self.kind, self.object_set, self.profile, self.count, self.case = kind, object_set, profile, count, case
        self.render_mode = render_mode
        self.gripper = Gripper()
        self.world = World()
        self.runner: GoalRunner
        self._look: Look
        self._maps: OrthographicMaps

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        for _ in range(DRAWS):
            drawn = int(self.np_random.integers(2**31))
            spec = SceneSpec.model_validate(
                {"seed": drawn, "kind": self.kind, "object_set": self.object_set, "profile": self.profile, "count": self.count,
                 "case": self.case}
            )  # fmt: skip
            try:
                scene = self.world.build(spec)
            except SceneError:
                continue
            if goal := goal_of(scene):
                self.runner = GoalRunner(scene, goal, self.gripper)
                self._episode = self.runner.run()
                self._see(next(self._episode))
                return self._observation(), {"goal": goal}
        raise RuntimeError(f"no visible goal in {DRAWS} {self.kind} scenes of {self.object_set!r} objects in a row")

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if self.runner.log.ended is not None:
            raise gymnasium.error.ResetNeeded(f"the episode has ended ({self.runner.log.ended}): call reset() first")
        kind, rotation, row, column = (int(each) for each in action)
        angle = 2 * np.pi * rotation / ROTATIONS
        place = place_of_cell(row, column)
        if kind == PUSH:
            move = Move("push", Decision(), push=push_at(self._maps, place, angle))
        else:
            move = Move("grasp", Decision(), grasp=grasp_at(self._maps, place, angle, self._look.view, self.gripper))
        motion = self._episode.send(move)
        assert isinstance(motion, Motion)
        log = self.runner.log
        with suppress(StopIteration):
            self._see(next(self._episode))
        cut = log.ended in ("motions", "failed_grasps")
        info = {"is_success": log.done, "motions": log.motions, "failure": motion.failure, "lifted": motion.lifted,
                "moved": motion.moved, "ended": log.ended}  # fmt: skip
        return self._observation(), float(log.done), log.ended is not None and not cut, cut, info

    def _see(self, event: Look | Motion) -> None:
        assert isinstance(event, Look)
        self._look, self._maps = event, orthographic_maps(event.view, event.mask)

    def _observation(self) -> Observation:
        height = np.rint(self._maps.height / HEIGHT_UNIT).clip(0, 255).astype(np.uint8)
        goal = self._maps.goal.astype(np.uint8) * 255
        return {
            "colour": np.ascontiguousarray(self._maps.colour.transpose(2, 0, 1)),
            "height": height[None],
            "goal": goal[None],
        }

    def render(self) -> np.ndarray:
        """(H, W, 3) uint8: the scene from above."""
        return self.runner.scene.observe().rgb

    def close(self) -> None:
        if self.world.physics.client.isConnected():
            self.world.close()
