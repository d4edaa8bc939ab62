"""A settled scene: look at it, try grasps on it, take objects out of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation

from grasp_client.contract import ContactRule, Gripper
from grasp_client.geometry import pose_from
from grasp_client.observation import Observation
from sim_worker.world.camera.appearance import Appearance
from sim_worker.world.camera.camera import BACKGROUND, TABLE, CameraView, camera_poses, over_table, render
from sim_worker.world.camera.photographic import Pattern, Photographic
from sim_worker.world.camera.sensor import sense
from sim_worker.world.grippers.arm import Arm
from sim_worker.world.grippers.attempt import AttemptResult, RetreatName, retreat
from sim_worker.world.grippers.cup import Cup, execute_suction_grasp, face_under
from sim_worker.world.grippers.grip import execute_jaw_grasp
from sim_worker.world.grippers.jaw import Jaw
from sim_worker.world.grippers.mesh_jaw import MeshJaw, mesh_probes
from sim_worker.world.grippers.pushing import PushResult, execute_push
from sim_worker.world.simulation.collision_probe import (
    ApproachSweep,
    CollisionProbe,
    Hit,
    below_table,
    cup_probes,
    jaw_probes,
    lip_travel,
)
from sim_worker.world.simulation.fixtures import surroundings
from sim_worker.world.simulation.physics import ATTEMPT_HZ, AWAKE, FAR_AWAY, SLEEP
from sim_worker.world.simulation.placement import PlacedObject, settled
from sim_worker.world.simulation.profiles import PROFILES, Conditions
from sim_worker.world.simulation.sim_state import Hand, HandKey, HandName, SimState, Simulation, hand_key
from sim_worker.world.simulation.spec import GOAL_KINDS, IN_SIGHT, CameraSpec, SceneError, SceneSpec

JAWS: dict[HandName, type[Jaw] | type[Arm]] = {"floating": Jaw, "arm": Arm, "mesh": MeshJaw}
FULL_FORCE = 0.08
"""m: a floating jaw that opens less than this has less of the scene's grip force, down to LEAST_FORCE of it."""
LEAST_FORCE = 0.25
NOT_RIGID = 1e-3
"""Largest deviation of an entry of R R^T from the identity in a pose to execute."""
FORGET_ROUNDS = 10
"""Of collision detection with everything apart; one suffices for a few bodies, pairs are dropped a tenth at a time."""


@dataclass(frozen=True)
class Snapshot:
    """A settled state of a scene, and how its random streams stood."""

    placed: tuple[PlacedObject, ...]
    changes: int
    attempts: int


class Scene:
    """Made by `World.build`. Every attempt starts from the settled state; `commit` and `remove` make a new settled state.

    The simulated state is a function of the placed objects and the gripper alone: it is set up in an emptied world, so a
    scene gives the same outcomes whatever the world did before.
    """

    def __init__(
        self, simulation: Simulation, spec: SceneSpec, conditions: Conditions, placed: list[PlacedObject],
        textures: Sequence[Pattern] = (),
    ) -> None:  # fmt: skip
        self.simulation, self.physics = simulation, simulation.physics
        self.spec, self.conditions = spec, conditions
        self.placed = placed
        self.changes = 0
        self.attempts = 0
        self._view: CameraView | None = None
        self.appearance = Appearance.draw(PROFILES[spec.profile].colours, spec.random("appearance"))
        self.photographic = Photographic.draw(spec.looks, spec.random("looks"), textures)

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of what is still in the scene."""
        return tuple(placed.name for placed in self.placed)

    def hash(self) -> str:
        """Of everything that decides image and outcomes: equal for equal scenes."""
        state = [(p.name, p.mass, p.colour, p.position, p.orientation) for p in self.placed]
        text = repr((self.spec.kind, self.spec.camera, self.spec.seed, self.conditions, self.changes, state))
        return hashlib.sha256(text.encode()).hexdigest()

    # -- looking

    def observe(self) -> CameraView:
        """One image of the settled scene, as the sensor gives it. The same object until the scene changes."""
        if self._view is None:
            self._view = self.observe_with(self.spec.camera)
        return self._view

    def observe_with(self, camera: CameraSpec) -> CameraView:
        """As `observe`, through another camera: from the side or larger."""
        state = self._state(None)
        if state.moved:
            self.restore()
        reported, true = camera_poses(camera, self.conditions)
        image = render(self.physics, camera.intrinsics, camera.width, camera.height, true, self.appearance.light)
        exact, bare, table = over_table(image, camera.intrinsics, true)
        random = self.spec.random("sensor", self.changes, repr(camera))
        depth = sense(exact, self.conditions.sensor, random, camera.focal)
        segmentation = np.where(bare, np.where(table > 0, TABLE, BACKGROUND), _numbered(image.bodies, state))
        seen = Observation(depth=depth), camera.intrinsics, reported, true, segmentation.astype(np.int32), self.objects
        paint = partial(self.appearance.paint, image.rgb, bare, exact, camera.intrinsics, true)
        if self.photographic:
            taken = self.spec.random("photograph", self.changes, repr(camera))
            how = self.photographic.paint
            paint = partial(how, image.rgb, segmentation, bare, exact, camera.intrinsics, true, taken)
        return CameraView(*seen, exact, paint)

    # -- acting

    def attempt(
        self,
        pose_base: np.ndarray,
        width: float,
        gripper: Gripper | None = None,
        hand: HandName = "floating",
        contact_rule: ContactRule = "strict",
        trial: int | None = None,
        carry: RetreatName | None = None,
    ) -> AttemptResult:
        """Execute one grasp from the settled state.

        `pose_base` (4, 4): the grasp as a reply gives it, tool frame in the base frame; `width` m. `trial` numbers the
        draw of the hand's pose error, so that planners can be compared under the same errors; by default it counts up.
        `carry`: which way what is held is carried; none: out of a shelf, straight up elsewhere. Raises SceneError for a pose
        that is no rigid 4x4 matrix, and for another way than straight up with a cup or the arm.
        """
        gripper = gripper or Gripper()
        carry = carry or ("out" if self.spec.shelf else "up")
        if carry != "up" and (hand == "arm" or gripper.kind == "suction"):
            raise SceneError(f"an arm or a cup lifts straight up; got carry {carry!r}: use a floating jaw")
        trial, self.attempts = (self.attempts if trial is None else trial), self.attempts + 1
        pose = np.asarray(pose_base, dtype=float)
        if pose.shape != (4, 4) or not np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)).max() <= NOT_RIGID:
            raise SceneError(f"expected a rigid 4x4 grasp pose in the base frame, got {pose.tolist()}")
        wanted = hand_key(gripper, hand)
        if gripper.kind == "parallel_jaw" and width > wanted[0].max_width + 1e-6:
            return AttemptResult(False, "unreachable", details={"reason": "wider than the jaw opens", "width": width})
        tip = self._with_error(pose @ pose_from(np.eye(3), np.array([0, 0, gripper.tcp_offset])), trial)
        state = self._state(wanted)
        probes = _probes(wanted, width)
        blocked = self._blocked(state, probes, tip)
        if blocked and contact_rule == "strict":
            return blocked
        behind = state.sweep.clear_distance(probes, tip, state.skins) if blocked else 0.0
        if state.moved:
            self.restore()
        state.moved = True
        return self._execute(state, tip, width, behind, carry)

    def push(self, start: np.ndarray, end: np.ndarray, gripper: Gripper | None = None, trial: int | None = None) -> PushResult:
        """Push with the closed hand from the settled state; `commit` then lets the world come to rest.

        start, end (4, 4): poses of the closed fingertips in the base frame, equally turned. trial: as in `attempt`. Raises
        SceneError for poses that are none, and for a cup, which has no fingers to push with.
        """
        gripper = gripper or Gripper()
        if gripper.kind != "parallel_jaw":
            raise SceneError(f"only a parallel jaw pushes, got a gripper of kind {gripper.kind}")
        trial, self.attempts = (self.attempts if trial is None else trial), self.attempts + 1
        tips = [np.asarray(pose, dtype=float) for pose in (start, end)]
        if any(tip.shape != (4, 4) for tip in tips) or not np.allclose(tips[0][:3, :3], tips[1][:3, :3], atol=1e-3):
            raise SceneError(f"expected two equally turned 4x4 poses in the base frame, got {start} and {end}")
        wanted = hand_key(gripper, "floating")
        travel = tips[1][:3, 3] - tips[0][:3, 3]
        tip = self._with_error(tips[0], trial)
        state = self._state(wanted)
        blocked = self._blocked(state, jaw_probes(wanted[0], 0.0), tip)
        if blocked:
            return PushResult(blocked.object_name)
        if state.moved:
            self.restore()
        state.moved = True
        assert isinstance(state.hand, Jaw)
        with self.physics.finer(ATTEMPT_HZ):
            return execute_push(self.physics, state.hand, tip, travel)

    def snapshot(self) -> Snapshot:
        """The settled state, to `revert` to."""
        return Snapshot(tuple(self.placed), self.changes, self.attempts)

    def revert(self, snapshot: Snapshot) -> None:
        """Back to a settled state of this scene: what follows is as it would have been then."""
        self.placed, self.changes, self.attempts = list(snapshot.placed), snapshot.changes, snapshot.attempts
        self._view = None
        self.simulation.owner = None

    def stage(self, gripper: Gripper, hand: HandName = "floating") -> SimState:
        """The settled scene with this hand, for a caller who moves it step by step; what follows starts settled again."""
        state = self._state(hand_key(gripper, hand))
        if state.moved:
            self.restore()
        state.moved = True
        return state

    def _execute(self, state: SimState, tip: np.ndarray, width: float, behind: float, carry: RetreatName) -> AttemptResult:
        physics, drawn, hand = self.physics, self.conditions, state.hand
        with physics.finer(ATTEMPT_HZ):
            if isinstance(hand, Cup):
                return execute_suction_grasp(physics, hand, state.bodies, tip, drawn.vacuum, drawn.cup_lever)
            if isinstance(hand, Arm):
                return hand.execute(state.bodies, state.fixed, tip, width, drawn.grip_force)
            force = drawn.grip_force * float(np.clip(hand.gripper.max_width / FULL_FORCE, LEAST_FORCE, 1.0))
            result = execute_jaw_grasp(physics, hand, state.bodies, tip, width, force, behind, retreat(tip, carry))
            return result if carry == "up" else replace(result, details={**result.details, "carry": carry})

    def _with_error(self, tip: np.ndarray, trial: int) -> np.ndarray:
        """The tip pose as the hand really reaches it."""
        draw = self.spec.random("pose error", self.changes, trial).uniform(-1, 1, 4)
        shift = draw[:3] * self.conditions.pose_shift * np.array([1, 1, 1 / 3])
        turn = Rotation.from_euler("z", draw[3] * self.conditions.pose_turn).as_matrix()
        result: np.ndarray = tip @ pose_from(turn, shift)
        return result

    def _blocked(self, state: SimState, probes: list[CollisionProbe], tip: np.ndarray) -> AttemptResult | None:
        """The outcome `collision`, if the open hand would enter anything on its way in."""
        if below_table(probes, tip):
            return AttemptResult(False, "collision", "table", details={"phase": "approach"})
        if state.moved:
            self.restore()
        if isinstance(state.hand, Cup):
            hit = self._cup_hit(state, state.hand.gripper, probes, tip)
        else:
            hit = state.sweep.hit(probes, tip, state.skins)
        if hit is None:
            return None
        name = {**state.bodies, **state.fixed}[hit[0]]
        return AttemptResult(False, "collision", name, details={"phase": "approach", "depth": round(hit[1], 5)})

    def _cup_hit(self, state: SimState, gripper: Gripper, probes: list[CollisionProbe], tip: np.ndarray) -> Hit | None:
        """What a cup enters first: the thing that it is pressed on may come in as far as its lip moves."""
        face = face_under(self.physics, tip, gripper)
        if face not in state.bodies:
            return state.sweep.hit(probes, tip, state.skins)
        others = {body: skin for body, skin in state.skins.items() if body != face}
        travelled = cup_probes(gripper, lip_travel(gripper))
        return state.sweep.hit(probes, tip, others) or state.sweep.hit(travelled, tip, {face: state.skins[face]})

    # -- changing

    def restore(self) -> None:
        """Back to the settled state, exactly.

        PyBullet's own saved states do not do: contacts keep the order of what happened before, and an outcome in a
        hundred then differs. Here everything is first taken apart, so that all contacts go, and set down again.
        """
        state, client = self._state(None), self.physics.client
        state.hand.park()
        for index, body in enumerate(state.bodies):
            client.resetBasePositionAndOrientation(body, [index * FAR_AWAY, 0, FAR_AWAY], [0, 0, 0, 1])
        for _ in range(FORGET_ROUNDS):
            client.performCollisionDetection()
        for body, placed in zip(state.bodies, self.placed, strict=True):
            client.resetBasePositionAndOrientation(body, placed.position, placed.orientation)
            client.resetBaseVelocity(body, [0, 0, 0], [0, 0, 0])
            client.changeDynamics(body, -1, activationState=AWAKE)
            if self.physics.sleeping:
                client.changeDynamics(body, -1, activationState=SLEEP)
        state.moved = False

    def commit(self) -> list[str]:
        """Let the world come to rest as the last attempt left it; names of objects that were lost that way."""
        return self._settle_after(None)

    def remove(self, name: str) -> list[str]:
        """Take an object out and let the rest come to rest; names of others that were lost that way."""
        if name not in self.objects:
            raise SceneError(f"no object {name!r} in the scene; there are {', '.join(self.objects) or 'none'}")
        return self._settle_after(name)

    def _settle_after(self, taken: str | None) -> list[str]:
        state, physics = self._state(None), self.physics
        state.hand.park()
        by_name = {name: body for body, name in state.bodies.items()}
        if taken is not None:
            physics.client.removeBody(by_name.pop(taken))
        for body in by_name.values():
            physics.client.changeDynamics(body, -1, activationState=AWAKE)
        before = [placed for placed in self.placed if placed.name != taken]
        standing = {by_name[placed.name]: placed for placed in before}
        rolling = self.spec.kind in GOAL_KINDS
        self.placed = settled(physics, standing, partial(self.spec.holds, scale=IN_SIGHT), rolling)
        self.changes += 1
        self._view = None
        self.simulation.owner = None
        return [placed.name for placed in before if placed.name not in self.objects]

    # -- the simulation behind it

    def _state(self, wanted: HandKey | None) -> SimState:
        """This scene in the simulation, with this hand (None: whichever is there, else the default)."""
        state = self.simulation.state
        if self.simulation.owner is self and state is not None and wanted in (None, state.wanted):
            return state
        wanted = wanted or hand_key(Gripper(), "floating")
        physics = self.physics
        physics.reset()
        fixed = surroundings(physics, self.spec)
        bodies = {placed.spawn(physics): placed for placed in self.placed}
        hand = self._make_hand(wanted)
        skins = {body: placed.model.skin for body, placed in bodies.items()}
        skins |= {body: 0.0 for body, name in fixed.items() if name != "table"}
        names = {body: placed.name for body, placed in bodies.items()}
        state = SimState(wanted, hand, names, fixed, skins, ApproachSweep(physics))
        self.simulation.owner, self.simulation.state = self, state
        return state

    def _make_hand(self, wanted: HandKey) -> Hand:
        gripper, name = wanted
        if gripper.kind == "suction":
            return Cup(self.physics, gripper)
        return JAWS[name](self.physics, gripper, self.conditions.friction)


def _probes(wanted: HandKey, width: float) -> list[CollisionProbe]:
    """What the hand, open by `width` m, sweeps on its way in."""
    gripper, name = wanted
    if gripper.kind == "suction":
        return cup_probes(gripper)
    return mesh_probes(width) if name == "mesh" else jaw_probes(gripper, width)


def _numbered(bodies: np.ndarray, state: SimState) -> np.ndarray:
    """Body ids (H, W), -1 for none, as the numbers of a view's segmentation."""
    numbers = np.full(max([*state.bodies, *state.fixed, state.hand.body]) + 2, BACKGROUND, dtype=np.int32)
    numbers[list(state.fixed)] = TABLE
    numbers[list(state.bodies)] = np.arange(1, len(state.bodies) + 1)
    result: np.ndarray = numbers[bodies]
    return result
