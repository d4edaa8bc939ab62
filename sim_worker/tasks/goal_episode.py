"""Getting one wanted thing: look, decide, grasp it, clear a neighbour away or push, until it is held or lost.

An episode is a generator. It yields `Look` and is sent the `Move` to make, and yields `Motion` for what came of it, so whoever
drives it decides by what policy, in process or over the network.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from grasp_client.contract import Failure as Failed
from grasp_client.contract import Grasp, Gripper, ModelRef, Push
from sim_worker.grasp_poses import pose_in_base
from sim_worker.planner_request import Failure
from sim_worker.tasks.goals import goal_mask, is_in_workspace, is_visible, place_of
from sim_worker.world import CameraView, Scene

MOST_MOTIONS, MOST_FAILED = 15, 10
"""An episode ends after so many motions, or failed attempts at the goal, as in published work."""
OTHER_THING: Literal["other_thing"] = "other_thing"
"""Failure of a grasp of the goal that lifts something else."""
MotionFailure = Failed | Literal["other_thing"]
MoveKind = Literal["grasp", "clear", "push"]
Ending = Literal["done", "lost", "hidden", "motions", "failed_grasps", "nothing"]
"""hidden: the goal cannot be seen any more; nothing: the policy knew no move."""


@dataclass(frozen=True)
class Decision:
    """What a planner says of a goal: its own grasps, grasps that clear neighbours away, pushes, each the best first."""

    quality: float = 0.0
    action: str = "none"
    """What it would do."""
    grasps: tuple[Grasp, ...] = ()
    clears: tuple[Grasp, ...] = ()
    pushes: tuple[Push, ...] = ()
    model: ModelRef | None = None
    """That valued the pushes."""
    grasp_model: ModelRef | None = None


@dataclass(frozen=True)
class Look:
    """A decision is wanted. failed: grasps of the goal that failed since something was moved away from it."""

    view: CameraView
    goal: str
    mask: np.ndarray
    failed: tuple[Failure, ...]
    motions: int


@dataclass(frozen=True)
class Move:
    """What a policy wants done. value: what it expects of it, a probability. contact_allowed: the open hand may touch."""

    kind: MoveKind
    decision: Decision
    grasp: Grasp | None = None
    push: Push | None = None
    value: float = 0.0
    contact_allowed: bool = False
    exploration: bool = False


@dataclass(frozen=True)
class Motion:
    """One executed move. success: the wanted thing is held; a neighbour was taken away; the hand came down to push. moved: how
    far the goal went, m. lifted: what was taken out of the scene."""

    number: int
    look: Look
    move: Move
    success: bool
    failure: MotionFailure | None
    lifted: str | None
    lost: bool
    moved: float
    seconds: float


@dataclass
class EpisodeLog:
    """How an episode went on. attempts: at the goal; failures of them. motions: of every kind."""

    ended: Ending | None = None
    motions: int = 0
    attempts: int = 0
    failures: int = 0
    kinds: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.ended == "done"


Episode = Generator[Look | Motion, Move | None, None]


class GoalRunner:
    """One episode in a scene. `run` yields looks and motions, `log` tells the rest. most: motions, at most."""

    def __init__(self, scene: Scene, goal: str, gripper: Gripper) -> None:
        self.scene, self.goal, self.gripper = scene, goal, gripper
        self.log = EpisodeLog()
        self.most = MOST_MOTIONS
        self._failed: list[Failure] = []

    def run(self) -> Episode:
        while self.log.ended is None:
            view = self.scene.observe()
            if not is_visible(view, self.goal):
                self.log.ended = "hidden"
                return
            mask = goal_mask(view, self.goal)
            look = Look(view, self.goal, mask, tuple(self._failed), self.log.motions)
            move = yield look
            if move is None:
                self.log.ended = "nothing"
                return
            motion = self._push(look, move) if move.kind == "push" else self._grasp(look, move)
            self._count(motion)
            yield motion

    def _count(self, motion: Motion) -> None:
        log = self.log
        log.motions += 1
        log.kinds.append(motion.move.kind)
        if motion.move.kind == "grasp":
            log.attempts += 1
            log.failures += not motion.success
        if motion.lifted == self.goal:
            log.ended = "done"
        elif motion.lost:
            log.ended = "lost"
        elif log.failures >= MOST_FAILED:
            log.ended = "failed_grasps"
        elif log.motions >= self.most:
            log.ended = "motions"

    def _grasp(self, look: Look, move: Move) -> Motion:
        assert move.grasp is not None
        scene, gripper = self.scene, self.gripper
        pose = pose_in_base(move.grasp, np.asarray(look.view.camera_pose))
        rule: Literal["allowed", "strict"] = "allowed" if move.contact_allowed else "strict"
        width = move.grasp.width or gripper.max_width
        result = scene.attempt(pose, width, gripper, contact_rule=rule, trial=self.log.motions)
        before = place_of(scene, self.goal)
        lifted = result.object_name if result.success else None
        if lifted is not None:
            scene.remove(lifted)
            self._failed = []
        else:
            scene.commit()
            self._failed.append(Failure(pose, move.grasp.quality))
        return self._motion(look, move, lifted == self.goal if move.kind == "grasp" else lifted is not None,
                            result.failure or (None if lifted == self.goal or move.kind == "clear" else OTHER_THING),
                            lifted, before, result.simulated_seconds)  # fmt: skip

    def _push(self, look: Look, move: Move) -> Motion:
        assert move.push is not None
        scene, before = self.scene, place_of(self.scene, self.goal)
        start, end = push_poses(move.push, np.asarray(look.view.camera_pose))
        result = scene.push(start, end, self.gripper, trial=self.log.motions)
        scene.commit()
        self._failed = []
        failure: MotionFailure | None = None if result.blocked is None else "collision"
        return self._motion(look, move, failure is None, failure, None, before, result.simulated_seconds)

    def _motion(
        self, look: Look, move: Move, success: bool, failure: MotionFailure | None, lifted: str | None,
        before: np.ndarray | None, seconds: float,
    ) -> Motion:  # fmt: skip
        now = place_of(self.scene, self.goal)
        moved = 0.0 if before is None or now is None else float(np.hypot(*(now - before)[:2]))
        lost = lifted != self.goal and not is_in_workspace(self.scene, self.goal)
        return Motion(self.log.motions, look, move, success, failure, lifted, lost, round(moved, 4), seconds)


def push_poses(push: Push, camera_pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and end (4, 4) of a push in the base frame, from its own or from those in the camera's."""
    if push.start_base is not None and push.end_base is not None:
        return np.asarray(push.start_base, dtype=float), np.asarray(push.end_base, dtype=float)
    assert push.start_camera is not None  # the contract says so
    return camera_pose @ np.asarray(push.start_camera), camera_pose @ np.asarray(push.end_camera)
