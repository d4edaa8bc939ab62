"""Clearing a scene, object by object, as a state machine: observe, plan, approach, grasp, lift, check, place; recover.

One machine serves the protocols: a single attempt, the field's decluttering (two failures in a row end a round), and bin
picking (an object that fails three times is set aside). What differs is in `Rules`.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from grasp_client.contract import ContactRule, Grasp, GraspPlan, Gripper
from sim_worker.grasp_poses import pose_in_base
from sim_worker.planner_request import Failure, PlanningRequest
from sim_worker.world import AttemptResult, CameraView, Scene
from sim_worker.world.grippers.attempt import RetreatName
from sim_worker.world.simulation.sim_state import HandName


class State(str, Enum):
    OBSERVE = "observe"
    PLAN = "plan"
    APPROACH = "approach"
    GRASP = "grasp"
    LIFT = "lift"
    CHECK = "check"
    PLACE = "place"
    RECOVER = "recover"


REACHED = {"unreachable": State.PLAN, "collision": State.APPROACH, "missed": State.GRASP, "slipped": State.LIFT}
"""The last state that a failed attempt got through or failed in."""


@dataclass(frozen=True)
class Rules:
    """When a round ends, besides an empty scene and no plan. None: no such rule."""

    attempts: int | None = None
    failures_in_a_row: int | None = None
    set_aside_after: int | None = None

    def __post_init__(self) -> None:
        if self.attempts is None and self.failures_in_a_row is None:
            raise ValueError("expected a limit on attempts or on failures in a row: without one a round may never end")


SINGLE = Rules(attempts=1)
DECLUTTER = Rules(failures_in_a_row=2)
SET_ASIDE_AFTER = 3
"""Failed attempts at an object after which it is put aside, so that it does not hold up the rest."""
BIN = Rules(failures_in_a_row=10, set_aside_after=SET_ASIDE_AFTER)
FORGOTTEN = 0.05
"""Where something was taken away, what failed within this distance, seen from above, says nothing of what is left, m."""
NO_PLAN = "no_plan"


@dataclass(frozen=True)
class Pick:
    """One executed grasp. pose: (4, 4), in the base frame. object: which it was meant for, by where it lies in the image; None
    if that is no object. view: what was seen, None once it is forgotten."""

    number: int
    view: CameraView | None
    plan: GraspPlan
    grasp: Grasp
    pose: np.ndarray
    result: AttemptResult
    object: str | None
    states: tuple[State, ...]


@dataclass
class ObjectLog:
    """What happened to one object. end: placed, set_aside, lost (rolled away) or left."""

    attempts: int = 0
    failures: list[str] = field(default_factory=list)
    end: str = "left"


@dataclass
class DeclutteringLog:
    """A round as it went on. ended: cleared, no_plan, failures_in_a_row or attempts. unplanned: the view without a plan, and
    rejections its reasons."""

    objects: dict[str, ObjectLog] = field(default_factory=dict)
    ended: str = ""
    rejections: dict[str, int] = field(default_factory=dict)
    unplanned: CameraView | None = None

    def count(self, end: str) -> int:
        return sum(log.end == end for log in self.objects.values())


Clearing = Generator[PlanningRequest | Pick, GraspPlan | None, None]


class DeclutteringRunner:
    """The machine. `run` yields a `PlanningRequest`, to be sent the plan, and a `Pick` for each attempt; `log` tells the rest.

    ask: makes a call of a view and of the grasps that failed where nothing was taken away since. carry: as in `Scene.attempt`.
    """

    def __init__(
        self,
        scene: Scene,
        ask: Callable[[CameraView, Sequence[Failure]], PlanningRequest],
        rules: Rules,
        gripper: Gripper,
        hand: HandName = "floating",
        contact_rule: ContactRule = "strict",
        carry: RetreatName | None = None,
    ) -> None:
        self.scene = scene
        self.ask = ask
        self.rules = rules
        self.gripper = gripper
        self.hand = hand
        self.contact_rule = contact_rule
        self.carry = carry
        self.log = DeclutteringLog({name: ObjectLog() for name in scene.objects})
        self.attempts = 0
        self.failed: list[Failure] = []
        self.failures_in_a_row = 0

    def run(self) -> Clearing:
        while not self._ended():
            view = self.scene.observe()
            plan = yield self.ask(view, self.failed)
            if plan is None or not plan.grasps:
                self.log.ended, self.log.unplanned = NO_PLAN, view
                self.log.rejections = dict(plan.rejections) if plan else {}
                return
            pick = self._execute(view, plan)
            yield pick
            self._place(pick) if pick.result.success else self._recover(pick)

    def _ended(self) -> bool:
        rules = self.rules
        if not self.scene.objects:
            self.log.ended = "cleared"
        elif rules.attempts is not None and self.attempts >= rules.attempts:
            self.log.ended = "attempts"
        elif rules.failures_in_a_row is not None and self.failures_in_a_row >= rules.failures_in_a_row:
            self.log.ended = "failures_in_a_row"
        return bool(self.log.ended)

    def _execute(self, view: CameraView, plan: GraspPlan) -> Pick:
        """Approach, grasp, lift and check the best grasp. Equal attempt numbers of equal scenes get the same pose error."""
        grasp, pose = self._best(view, plan)
        width = grasp.width or self.gripper.max_width
        how = self.gripper, self.hand, self.contact_rule, self.attempts, self.carry
        result = self.scene.attempt(pose, width, *how)
        states = [State.OBSERVE, State.PLAN, State.APPROACH, State.GRASP, State.LIFT, State.CHECK]
        if result.failure:
            states = [*states[: states.index(REACHED[result.failure]) + 1], State.RECOVER]
        else:
            states.append(State.PLACE)
        meant = result.object_name if result.success else view.object_at(pose)
        pick = Pick(self.attempts, view, plan, grasp, pose, result, meant, tuple(states))
        self.attempts += 1
        if meant in self.log.objects:
            self.log.objects[meant].attempts += 1
        return pick

    def _best(self, view: CameraView, plan: GraspPlan) -> tuple[Grasp, np.ndarray]:
        """The best grasp of a plan and its pose (4, 4). Of cups: the best that lies where none failed, if any does."""
        posed = [(grasp, pose_in_base(grasp, np.asarray(view.camera_pose))) for grasp in plan.grasps]
        if self.gripper.kind != "suction":
            return posed[0]
        failed = np.array([each.pose[:3, 3] for each in self.failed]).reshape(-1, 3)
        apart = (np.linalg.norm(failed - pose[:3, 3], axis=1) for _, pose in posed)
        fresh = (each for each, away in zip(posed, apart, strict=True) if (away > self.gripper.cup_radius).all())
        return next(fresh, posed[0])

    def _place(self, pick: Pick) -> None:
        self.failures_in_a_row = 0
        assert pick.result.object_name is not None
        self.log.objects[pick.result.object_name].end = "placed"
        self._take_away(pick.result.object_name, pick)

    def _recover(self, pick: Pick) -> None:
        """Let the scene come to rest as the failed attempt left it, and set the object aside if it failed too often."""
        self.failures_in_a_row += 1
        self.failed.append(Failure(pick.pose, pick.grasp.quality))
        self._lost(self.scene.commit())
        if pick.object is None:
            return
        log = self.log.objects[pick.object]
        log.failures.append(pick.result.failure or "")
        limit = self.rules.set_aside_after
        if limit is not None and len(log.failures) >= limit and pick.object in self.scene.objects:
            log.end = "set_aside"
            self._take_away(pick.object, pick)

    def _take_away(self, name: str, pick: Pick) -> None:
        """An object that was lifted, or at which grasps failed too often."""
        self._lost(self.scene.remove(name))
        place = pick.pose[:2, 3]
        self.failed = [each for each in self.failed if np.linalg.norm(each.pose[:2, 3] - place) > FORGOTTEN]

    def _lost(self, names: list[str]) -> None:
        for name in names:
            self.log.objects[name].end = "lost"
