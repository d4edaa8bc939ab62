"""What could be had: the best of many poses per state, chosen under other pose errors than those that it is scored under.

Poses come from the planners, on the picture that they get and on one without noise, from samplers, and from moving what came
near to holding. They are tried in the very scene, with its masses and friction, so the best is more than a planner can know.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from grasp_client.contract import Approach, Grasp
from grasp_client.geometry import approach_frame, invert, pose_from
from grasp_client.observation import Observation
from shared.features.circumstances import USUAL_RADIUS
from sim_worker.benchmark.trials import Protocol, asked, buildable
from sim_worker.grasp_poses import pose_in_base
from sim_worker.planner_request import planning_request
from sim_worker.planners import NamedPlanner
from sim_worker.sampling.approaches import KEEPERS, told_approach, towards
from sim_worker.sampling.samplers import promising, random_on_object
from sim_worker.sampling.surface import Surface, scale_of
from sim_worker.tasks.decluttering import NO_PLAN
from sim_worker.world import AttemptResult, CameraView, Scene, World

CHOOSING = 1_000_000
"""Number of the first draw of the pose error that poses are chosen under; attempts of a benchmark count theirs from 0."""
LISTED, SAMPLED = 0.4, 0.3
"""Shares of the poses that planners list, at most, and that samplers draw; the rest is moved from what came near."""
AT_ONCE = 20
"""Poses that are moved before the next are moved from what came of them."""
PARENTS = 12
"""They are moved from so many."""
FINALISTS = 32
"""So many poses are tried under all draws that choose."""
SHIFT, TURN, LEAN = 0.004, math.radians(12), math.radians(6)
"""Standard deviations of a move: m, for a hand of the usual size; rad about the approach, and of the approach."""
MOST_LEAN = {"parallel_jaw": math.radians(20), "suction": math.radians(60)}
"""rad from straight down, where planners come from above."""
FROM_SIDE = math.radians(75)
"""The same where they come from any side."""
NEARNESS = {None: 4, "slipped": 3, "missed": 2, "collision": 1, "unreachable": 0}
"""How near an attempt came to holding, by its failure."""


@dataclass(frozen=True)
class Search:
    """poses: tried per state. draws: of the pose error, half to choose under, half to score under. picks: states of a
    scene, at most: from each, the thing that the best pose lifts is taken away."""

    poses: int
    draws: int = 12
    picks: int = 1


@dataclass(frozen=True)
class Pose:
    """base (4, 4): of the tool in the base frame. width: of a jaw, m."""

    base: np.ndarray
    width: float


@dataclass(frozen=True)
class CeilingState:
    """One state of a scene. held: of the poses, those that held under the first draw. best: by the draws that score, whether
    the best pose held. own: the failures of each planner's best grasp under them, None where it held; quality: its promise."""

    seed: int
    number: int
    scene_hash: str
    poses: int
    held: int
    best: list[bool]
    own: dict[str, list[str | None]]
    quality: dict[str, float | None]


def ceilings(
    world: World, planners: Sequence[NamedPlanner], protocol: Protocol, search: Search, seed: int, number: int
) -> list[CeilingState]:
    """The states of scene `number` of `seed`, the first as it was built. Raises SceneError when it cannot be built."""
    scene = world.build(buildable(world, protocol, seed, number))
    states: list[CeilingState] = []
    while scene.objects and len(states) < search.picks:
        searched = StateSearch(scene, planners, protocol)
        tried = searched.tried(search.poses)
        state, lifted = searched.scored(tried, search.draws // 2, seed, number)
        states.append(state)
        if lifted is None:
            break
        scene.remove(lifted)
    return states


class StateSearch:
    """The poses of one state of a scene."""

    def __init__(self, scene: Scene, planners: Sequence[NamedPlanner], protocol: Protocol) -> None:
        self.scene, self.planners, self.protocol = scene, planners, protocol
        self.view = scene.observe()
        self.exact = replace(
            self.view, observation=Observation(depth=self.view.exact_depth), camera_pose=self.view.true_camera_pose
        )
        self.random = np.random.default_rng([scene.spec.seed, CHOOSING, scene.changes])
        self.ways = allowed(scene, self.view, planners, protocol)

    def tried(self, count: int) -> list[tuple[Pose, int]]:
        """`count` poses, each with how near it came under the first draw."""
        poses = self._listed(round(LISTED * count))
        poses += self._sampled(round(SAMPLED * count))
        tried = [(pose, self._nearness(pose)) for pose in poses]
        while len(tried) < count and tried:
            parents = sorted(tried, key=lambda each: -each[1])[:PARENTS]
            drawn = self.random.integers(len(parents), size=min(AT_ONCE, count - len(tried)))
            moved = [self._moved(parents[index][0]) for index in drawn]
            tried += [(pose, self._nearness(pose)) for pose in moved]
        return tried

    def scored(self, tried: Sequence[tuple[Pose, int]], draws: int, seed: int, number: int) -> tuple[CeilingState, str | None]:
        """The state with what the most often held pose and the planners' own come to under other draws, and what that lifts."""
        order = sorted(range(len(tried)), key=lambda index: -tried[index][1])
        held = sum(nearness == NEARNESS[None] for _, nearness in tried)
        # Of the many that held, some of every source.
        some = order[:: max(1, held // FINALISTS)][:FINALISTS]
        choosing = range(CHOOSING, CHOOSING + draws)
        most_held = {index: sum(self._attempt(tried[index][0], draw).success for draw in choosing) for index in some}
        best = tried[max(most_held, key=lambda index: most_held[index])][0] if most_held else None
        results = [self._attempt(best, draw) for draw in range(draws)] if best else []
        own: dict[str, list[str | None]] = {}
        quality: dict[str, float | None] = {}
        for named in self.planners:
            first = next(iter(asked(named, self.protocol, self.scene.spec, self.view).grasps), None)
            pose = self._pose(first, self.view) if first else None
            own[named.spec] = [self._attempt(pose, draw).failure if pose else NO_PLAN for draw in range(draws)]
            quality[named.spec] = first.quality if first else None
        success = [result.success for result in results] or [False] * draws
        state = CeilingState(seed, number, self.scene.hash(), len(tried), held, success, own, quality)
        return state, next((result.object_name for result in results if result.success), None)

    def _listed(self, most: int) -> list[Pose]:
        """The best of every planner's lists, of what is seen and of what would be seen without noise."""
        lists = [
            [self._pose(grasp, view) for grasp in asked(named, self.protocol, self.scene.spec, view, count=most).grasps]
            for view in (self.view, self.exact)
            for named in self.planners
        ]
        return [poses[rank] for rank in range(most) for poses in lists if rank < len(poses)][:most]

    def _sampled(self, count: int) -> list[Pose]:
        """Drawn on the true surfaces of things; every other one along a way that the row allows, a cup along the normal."""
        gripper, pose = self.protocol.gripper, np.asarray(self.exact.camera_pose)
        seen = planning_request(self.exact, self.scene.spec, gripper, 1, extras=["segmask"]).observation
        surface = Surface.of(seen, self.exact.camera, pose, gripper)
        grasps = promising(surface, gripper, count - count // 3, self.random) + random_on_object(
            surface, gripper, count // 3, self.random
        )
        straight = [self._pose(grasp, self.exact) for grasp in grasps]
        if gripper.kind == "suction":
            return straight
        return [self._leaned(each) if rank % 2 else each for rank, each in enumerate(straight)]

    def _leaned(self, pose: Pose) -> Pose:
        """The same tips along an allowed way."""
        axis, most = np.asarray(self.ways.axis, dtype=float), self.ways.max_angle
        aside = np.cross(axis, self.random.normal(size=3))
        turn = Rotation.from_rotvec(aside / np.linalg.norm(aside) * most * math.sqrt(self.random.random()))
        tips = pose.base @ self._to_tips
        way = turn.apply(axis)
        closing = tips[:3, 0] if abs(tips[:3, 0] @ way) < 0.9 else tips[:3, 1]
        return Pose(approach_frame(tips[:3, 3], closing, way) @ invert(self._to_tips), pose.width)

    def _moved(self, pose: Pose) -> Pose:
        """A pose near another one, along an allowed way; every other jaw wide open."""
        gripper = self.protocol.gripper
        cup = gripper.kind == "suction"
        size = gripper.cup_radius / USUAL_RADIUS if cup else scale_of(gripper)
        shift = self.random.normal(size=3) * SHIFT * size * (1, 1, 0.25 if cup else 1)
        turned = Rotation.from_euler("zxy", self.random.normal(size=3) * (TURN, LEAN, LEAN)).as_matrix()
        width = pose.width if cup or self.random.random() < 0.5 else gripper.max_width
        for rotation in (turned, np.eye(3)):
            moved = Pose(pose.base @ self._to_tips @ pose_from(rotation, shift) @ invert(self._to_tips), width)
            if self._allows(moved):
                break
        return moved

    def _allows(self, pose: Pose) -> bool:
        return bool(pose.base[:3, 2] @ np.asarray(self.ways.axis, dtype=float) >= math.cos(self.ways.max_angle))

    @property
    def _to_tips(self) -> np.ndarray:
        return pose_from(np.eye(3), np.array([0.0, 0.0, self.protocol.gripper.tcp_offset]))

    def _pose(self, grasp: Grasp, view: CameraView) -> Pose:
        return Pose(pose_in_base(grasp, np.asarray(view.camera_pose)), grasp.width or self.protocol.gripper.max_width)

    def _nearness(self, pose: Pose) -> int:
        return NEARNESS[self._attempt(pose, CHOOSING).failure]

    def _attempt(self, pose: Pose, draw: int) -> AttemptResult:
        how = self.protocol
        return self.scene.attempt(pose.base, pose.width, how.gripper, how.hand, how.contact_rule, draw, how.carry)


def allowed(scene: Scene, view: CameraView, planners: Sequence[NamedPlanner], protocol: Protocol) -> Approach:
    """The ways on which hands may come in a row: as it tells planners, else as far from straight down as they go."""
    keeps = any(named.name in KEEPERS for named in planners)
    if keeps and (told := protocol.told(view) or told_approach(scene.spec)):
        return told
    return towards(0.0, 0.0, FROM_SIDE if keeps else MOST_LEAN[protocol.gripper.kind])
