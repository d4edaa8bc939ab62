"""The rounds of a benchmark: identical scenes for every planner, each cleared by the same rules."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from grasp_client.contract import Approach, ContactRule, GraspPlan, Gripper
from sim_worker.planner_request import DroppedInput, Failure, ObservationKey, PlanningRequest, planning_request
from sim_worker.planners import NamedPlanner
from sim_worker.sampling.approaches import heading, towards
from sim_worker.sampling.variety import seen_from
from sim_worker.tasks.decluttering import BIN, DECLUTTER, SINGLE, DeclutteringLog, DeclutteringRunner, Pick, Rules
from sim_worker.world import CameraView, SceneError, SceneSpec, World
from sim_worker.world.grippers.attempt import RetreatName
from sim_worker.world.simulation.bins import BIN_INNER
from sim_worker.world.simulation.sim_state import HandName
from sim_worker.world.simulation.spec import Looks

KindName = Literal["single", "packed", "pile", "bin", "leaning", "shelf"]
Pictures = Literal["none", "failures", "all"]
"""Of which attempts pictures are drawn when all is done: their images stay in memory till then."""
ViewName = Literal["usual", "tilted", "near", "far", "fine", "side", "side_640"]
SEED_STREAM = 30
"""Keeps these scenes apart from those that other programs draw from the same seed."""
REDRAWS = 5
GRASPS_ASKED = 10

RULES: dict[KindName, Rules] = {
    "single": SINGLE, "packed": DECLUTTER, "pile": DECLUTTER, "bin": BIN, "leaning": BIN, "shelf": DECLUTTER,
}  # fmt: skip


class Protocol(BaseModel):
    """What a figure means: everything that decides it besides the planner. Printed and stored with every result."""

    model_config = ConfigDict(frozen=True)

    kind: KindName
    profile: str = "standard"
    object_set: str = "test"
    objects_dir: Path | None = None
    named: list[str] = Field([], description="objects of the scenes in turn, instead of draws from the set")
    upright: bool = False
    looks: Looks = "plain"
    fill: tuple[float, float] | None = Field(None, description="objects scaled to between these shares of the opening")
    view: ViewName = "usual"
    lean: float | None = Field(None, description="of the camera from straight down, degrees, in place of what the view draws")
    approach: float | None = Field(
        None, description="lean of the one approach that is told, degrees, towards where the camera looks"
    )
    within: float = Field(10.0, description="most that approaches differ from it, degrees")
    carry: RetreatName | None = Field(None, description="which way what is held is carried; none: as the kind has it")
    count: int | None = None
    bin_size: tuple[float, float, float] | None = BIN_INNER
    rounds: int = Field(50, description="rounds per seed")
    seeds: list[int] = Field([0])
    hand: HandName = "floating"
    contact_rule: ContactRule = "strict"
    gripper: Gripper = Field(default_factory=Gripper)
    inputs: list[ObservationKey] = Field([], description="given to the planner besides depth, camera and camera_pose")
    drop_inputs: list[DroppedInput] = Field([], description="not given to the planner")

    def spec(self, seed: int, number: int, redraw: int = 0) -> SceneSpec:
        """Scene `number` of `seed`; a redraw replaces one that did not come to rest, for all planners alike."""
        rng = np.random.default_rng([seed, SEED_STREAM, number, redraw])
        scene = SceneSpec.model_validate(
            {
                "seed": int(rng.integers(2**31)),
                "kind": self.kind,
                "object_set": "folder" if self.objects_dir else self.object_set,
                "profile": self.profile,
                "count": self.count,
                "bin_size": self.bin_size,
                "objects_dir": self.objects_dir,
                "objects": (self.named[number % len(self.named)],) if self.named else None,
                "upright": self.upright,
                "looks": self.looks,
                "object_span": self.fill and tuple(share * self.gripper.max_width for share in self.fill),
            }
        )
        return seen_from(scene, self.view, None if self.lean is None else math.radians(self.lean))

    def told(self, view: CameraView) -> Approach | None:
        """The approach that planners are told."""
        if self.approach is None:
            return None
        return towards(heading(view), math.radians(self.approach), math.radians(self.within))


@dataclass
class Trial:
    """One planner in one scene. `hash` identifies the scene; `plan_seconds` is wall time seen by the caller, per request."""

    planner: str
    seed: int
    number: int
    scene_seed: int
    hash: str
    presented: int
    picks: list[Pick] = field(default_factory=list)
    plan_seconds: list[float] = field(default_factory=list)
    log: DeclutteringLog = field(default_factory=DeclutteringLog)

    @property
    def removed(self) -> int:
        return sum(pick.result.success for pick in self.picks)

    def keep_views(self, of: Pictures) -> None:
        """Drop the other images, some megabytes per attempt."""
        kept = {"none": (), "failures": (False,), "all": (False, True)}[of]
        self.picks = [pick if pick.result.success in kept else replace(pick, view=None) for pick in self.picks]
        if of == "none":
            self.log.unplanned = None

    @property
    def first_success(self) -> bool:
        """Whether the first attempt succeeded; no plan is no success."""
        return bool(self.picks and self.picks[0].result.success)


def run_round(world: World, planners: Sequence[NamedPlanner], protocol: Protocol, seed: int, number: int) -> list[Trial]:
    """Every planner on scene `number` of `seed`. Raises SceneError when it cannot be built."""
    spec = buildable(world, protocol, seed, number)
    return [_trial(world, spec, named, protocol, seed, number) for named in planners]


def buildable(world: World, protocol: Protocol, seed: int, number: int) -> SceneSpec:
    """Scene `number` of `seed`, drawn again while it does not come to rest. Raises SceneError where it never does."""
    for redraw in range(REDRAWS):
        spec = protocol.spec(seed, number, redraw)
        try:
            world.build(spec)
            return spec
        except SceneError as error:
            failure = error
    raise failure


def asked(named: NamedPlanner, protocol: Protocol, spec: SceneSpec, view: CameraView, count: int = GRASPS_ASKED) -> GraspPlan:
    """The plan of a view, nothing tried yet."""
    call = _request(named, protocol, spec, view, (), count)
    return named.planner.plan(call.observation, call.request)


def _request(
    named: NamedPlanner,
    protocol: Protocol,
    spec: SceneSpec,
    view: CameraView,
    failed: Sequence[Failure],
    count: int = GRASPS_ASKED,
) -> PlanningRequest:
    given = protocol.inputs, protocol.drop_inputs
    asking = view, spec, protocol.gripper, count, named.name, named.model_version
    return planning_request(*asking, *given, failed, protocol.told(view))


def _trial(world: World, spec: SceneSpec, named: NamedPlanner, protocol: Protocol, seed: int, number: int) -> Trial:
    scene = world.build(spec)
    trial = Trial(named.spec, seed, number, spec.seed, scene.hash(), len(scene.objects))

    rules = RULES[protocol.kind]
    how = protocol.gripper, protocol.hand, protocol.contact_rule, protocol.carry
    clearer = DeclutteringRunner(scene, partial(_request, named, protocol, spec), rules, *how)
    task = clearer.run()
    plan: GraspPlan | None = None
    while True:
        try:
            event = task.send(plan)
        except StopIteration:
            break
        if isinstance(event, Pick):
            trial.picks.append(event)
            plan = None
            continue
        started = time.perf_counter()
        plan = named.planner.plan(event.observation, event.request)
        trial.plan_seconds.append(time.perf_counter() - started)
    trial.log = clearer.log
    return trial
