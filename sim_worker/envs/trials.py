"""Trials of planners in scenes of one cell, for learners in another process: as outcomes to learn from, or side by side."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from grasp_client.contract import GraspPlan, Gripper, Proposal, SceneRequest
from grasp_client.geometry import pose_from
from shared.outcome_codec import EncodedOutcome, encode_outcome
from sim_worker.grasp_poses import cell_error_of, pose_in_base
from sim_worker.outcome_records import outcome_of
from sim_worker.planner_request import PlanningRequest, planning_request
from sim_worker.planners import NamedPlanner, load_planner
from sim_worker.tasks.attempts import Attempt, run_scene_request
from sim_worker.worker.exploration import MOST_SHIFT, MOST_TURN
from sim_worker.world import Scene, SceneSpec, World

SEEDS = 2**32
"""Scenes of a set of trials: number `n` of seed s has the scene seed s * SEEDS + n."""
PROPOSALS = 5
"""Grasps of a planner that are corrected."""
REFINED = "refined"
FINGER_PX = 12
"""Half the length of a finger in a drawing, in pixels of the camera."""
LINE = (255, 60, 200)
"""Of a grasp in a drawing: no object's colour."""


class Trials:
    """Attempts in scenes, each anew. models_dir: registry of planners of this process, read anew in every call.

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
        """What `count` trials, from number `first` on, of scenes of training objects bring; none where nothing is planned.
        exploration: share of them in which the planner's best grasp is offset at random."""
        found = []
        named = load_planner(planner, self.models_dir)
        for number in range(first, first + count):
            scene = {"kind": self.kind, "object_set": "train", "profile": self.profile}
            asked = {"planner": named.name, "model_version": named.model_version, "exploration": exploration}
            request = SceneRequest.model_validate(
                {"id": f"refine-{seed}-{number}", "seed": seed * SEEDS + number, **scene, **asked}
            )
            task = run_scene_request(
                self._scene("train", seed, number), request, self.gripper, cell_error=self.cell_error, by_offset=True
            )
            event = next(task)
            assert isinstance(event, PlanningRequest)
            event = task.send(named.planner.plan(event.observation, event.request))
            if isinstance(event, Attempt):
                found.append(encode_outcome(outcome_of(event, request, f"refine-{seed}:{number}:0", "trials")))
        return found

    def compared(
        self,
        base: str,
        versions: Sequence[int],
        constant: dict[str, Any] | None,
        object_set: str,
        first: int,
        count: int,
        seed: int,
        pictured: int = 0,
    ) -> tuple[list[list[bool]], list[tuple[np.ndarray, np.ndarray]]]:
        """Whether the best grasp holds, in each scene: of the base; of the base with a constant offset, if there is one; of
        the base corrected by each version of the critic. And of the first `pictured` scenes what the camera saw, (H, W, 3)
        uint8, with the best grasp of the base, and of the last critic, drawn."""
        named = load_planner(base, self.models_dir)
        critics = [load_planner(f"{REFINED}:{version}", self.models_dir) for version in versions]
        rows: list[list[bool]] = []
        pictures: list[tuple[np.ndarray, np.ndarray]] = []
        for number in range(first, first + count):
            scene = self._scene(object_set, seed, number)
            row, base_plan, last = self._row(named, critics, constant, scene)
            rows.append(row)
            if len(pictures) < pictured:
                rgb = scene.observe().rgb
                pictures.append((drawn(rgb, base_plan), drawn(rgb, last)))
        return rows, pictures

    def close(self) -> None:
        self.world.close()

    def _row(
        self, named: NamedPlanner, critics: Sequence[NamedPlanner], constant: dict[str, Any] | None, scene: Scene
    ) -> tuple[list[bool], GraspPlan, GraspPlan]:
        """What each holds; the plans of the base and of the last critic."""
        view = scene.observe()
        view = replace(view, camera_pose=self.cell_error @ view.camera_pose)
        call = planning_request(view, scene.spec, self.gripper, PROPOSALS, named.name, named.model_version)
        base = named.planner.plan(call.observation, call.request)
        offered = [Proposal(pose_base=grasp.pose_base, width=grasp.width) for grasp in base.grasps]

        def held(plan: GraspPlan, offset: dict[str, Any] | None = None) -> bool:
            if not plan.grasps:
                return False
            pose = pose_in_base(plan.grasps[0], view.camera_pose)
            width = plan.grasps[0].width or self.gripper.max_width
            return scene.attempt(displaced(pose, offset) if offset else pose, width, self.gripper).success

        row = [held(base)] + ([held(base, constant)] if constant else [])
        plan = base
        for critic in critics:
            asked = {"planner": critic.name, "model_version": critic.model_version, "proposals": offered}
            plan = critic.planner.plan(call.observation, call.request.model_copy(update=asked)) if offered else base
            row.append(held(plan))
        return row, base, plan

    def _scene(self, object_set: str, seed: int, number: int) -> Scene:
        spec = {"seed": seed * SEEDS + number, "kind": self.kind, "object_set": object_set, "profile": self.profile}
        return self.world.build(SceneSpec.model_validate(spec))


def drawn(rgb: np.ndarray, plan: GraspPlan) -> np.ndarray:
    """A picture (H, W, 3) uint8 in half its size, with the best grasp of a plan: a line from finger to finger."""
    shown = np.ascontiguousarray(rgb[::2, ::2])
    for grasp in plan.grasps[:1]:
        along = np.array([math.cos(grasp.angle), math.sin(grasp.angle)]) * (grasp.width_px or 0.0) / 2
        across, centre = (
            FINGER_PX * np.array([-along[1], along[0]]) / max(np.linalg.norm(along), 1e-9),
            np.array(grasp.center_px),
        )
        ends = [centre - along, centre + along]
        for start, end in ((ends[0], ends[1]), *((each - across, each + across) for each in ends)):
            first, last = (tuple(np.rint(point / 2).astype(int).tolist()) for point in (start, end))
            cv2.line(shown, first, last, LINE, 2, cv2.LINE_AA)
    return shown


def displaced(pose: np.ndarray, constant: dict[str, Any]) -> np.ndarray:
    """A grasp pose (4, 4) in the base frame moved by `offset` (4,), -1 to 1: x, y, z and a turn about z, of the frame that
    `frame` names, the hand's own or the base."""
    frame: Literal["hand", "base"] = constant["frame"]
    shift, turn = MOST_SHIFT * np.array(constant["offset"][:3]), MOST_TURN * constant["offset"][3]
    moved = pose_from(Rotation.from_rotvec([0.0, 0.0, turn]).as_matrix(), shift)
    if frame == "hand":
        result: np.ndarray = pose @ moved
        return result
    return pose_from(moved[:3, :3] @ pose[:3, :3], pose[:3, 3] + shift)
