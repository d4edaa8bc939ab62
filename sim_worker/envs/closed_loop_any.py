"""`GraspLoop/ClosedLoopAny-v0`: steer a hand in position and yaw to any object, and close it in time.

Objects, friction, mass, colours and the noise of depth are those of a scene's profile; where the camera sits differs a little
in every episode from where it should; in half of the episodes the object is shifted on the way. An action moves the hand by up
to 1 cm along each axis of its own frame and turns it by up to 0.15 rad; its last number closes the hand when above CLOSE_ABOVE,
and then lifts. After 40 steps, 2 s, it closes anyway. Reward, at the end only: 1 when the object was lifted, else minus the
distance (m).
"""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces
from scipy.spatial.transform import Rotation

from grasp_client.contract import Gripper
from grasp_client.geometry import pose_from
from shared.features.eye_in_hand import View
from sim_worker.envs.curriculum import Curriculum
from sim_worker.envs.eye import Eye, intrinsics, mount
from sim_worker.envs.guide import Guide
from sim_worker.envs.hand_env import HandEnv, Observation
from sim_worker.grasp_poses import points_in_base, top_down
from sim_worker.world import Conditions, Scene, SceneSpec
from sim_worker.world.simulation.physics import AWAKE
from sim_worker.world.simulation.placement import PlacedObject
from sim_worker.world.simulation.sim_state import HandName
from sim_worker.world.simulation.spec import ProfileName

STEPS = 40
PHYSICS_STEPS = 12
"""At 240 Hz: 20 actions a second."""
MOST_SHIFT = 0.01
"""m a step along each axis."""
MOST_TURN = 0.15
"""rad a step."""
CLOSE_ABOVE = 0.8
"""Of the last number of an action: so seldom that a policy that knows nothing gets near an object before it closes."""
START_ASIDE = 0.06
"""m along x and y, at most, from over the object, on the last level."""
START_ABOVE = (0.06, 0.12)
"""m over the top of the object."""
LOWEST = 0.004
"""m that tips stay over the table."""
BELOW_CENTRE = 0.01
"""m under an object's centre of mass where tips hold it well."""
BESIDE, BEHIND = 0.075, 0.07
"""m of the camera: it looks past the palm of the Panda hand."""
FIELD = math.radians(60)
MOUNT_SHIFT, MOUNT_TURN = 0.002, 0.0349
"""m and rad per axis, at most, that the camera is off (the jitter of the UR5 environment of the same family)."""
NUDGED, NUDGE = 0.5, 0.03
"""Share of the episodes in which the object is shifted on the way, and by how much, m."""
NUDGE_STEPS = (5, 20)
LEVELS = 3
STATE_SCALE = 0.1
"""m that count as 1 in the privileged state."""
SCENES = 4000
"""That are taught in turn: finding grasps that hold in one takes as long as 30 steps."""
TIPPED = 0.2
"""rad off how it stood by which an object has to be for its grasps to be none any more."""


@dataclass(frozen=True)
class Surveyed:
    """A settled scene of one object as seen from above: its sides (short, long), m, the direction of the short one, rad, and
    its top, m. grasps: poses (4, 4) in the object's frame that hold; only where they are asked for."""

    spec: SceneSpec
    conditions: Conditions
    placed: PlacedObject
    sides: np.ndarray
    short: float
    top: float
    grasps: tuple[np.ndarray, ...] = ()


class ClosedLoopAny(HandEnv):
    """State (privileged), in 0.1 m and in the tip frame: the way to where the tips should be; direction of the object's short
    side relative to the closing axis (cosine and sine of twice the angle); its short and long side and height; share of the
    steps done.

    object_set, profile: of the scenes, see SceneSpec. nudge: shift the object on the way. level: 0 to 3 for good, at which the
    hand starts within a quarter, half, ... of START_ASIDE; none: the curriculum, or where it is `taught` the
    last level. taught: see HandEnv; episodes are then of SCENES scenes, the camera is off in another way in every step, and
    `advice` is no action but where the nearest grasp that holds is: x, y, z in 0.1 m of the tip frame, cosine and sine of twice
    its angle, and how far tips are over the object, in 0.1 m.
    """

    gripper = Gripper()
    states = 9
    advised = 6
    _surveyed: ClassVar[dict[tuple[SceneSpec, HandName], Surveyed]] = {}
    """Scenes that were taught in this process: what is found in one depends on nothing else."""

    def __init__(
        self,
        observation: View = "depth",
        hand: HandName = "floating",
        privileged: bool = False,
        object_set: str = "train",
        profile: ProfileName = "standard",
        nudge: bool = True,
        level: int | None = None,
        curriculum: Curriculum | None = None,
        taught: bool = False,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        level = LEVELS if taught else level
        levels = curriculum or (Curriculum(LEVELS) if level is None else Curriculum(level, level))
        super().__init__(spaces.Box(-1, 1, (5,), np.float32), observation, hand, privileged, taught, levels, render_mode)
        self.object_set, self.profile, self.nudge = object_set, profile, nudge
        self._guide = Guide(self.gripper, MOST_SHIFT, MOST_TURN) if taught else None

    def interface(self) -> dict[str, Any]:
        return {
            "environment": "GraspLoop/ClosedLoopAny-v0",
            "observation": self.view,
            "levels": LEVELS,
            "steps": STEPS,
            "potential": 3,
            "camera": intrinsics(FIELD).model_dump(),
            "mount": mount(BESIDE, BEHIND).tolist(),
            "movement": (np.eye(4, 5) * [[MOST_SHIFT], [MOST_SHIFT], [MOST_SHIFT], [MOST_TURN]]).tolist(),
            "still": [0.0] * 4,
            "close_above": CLOSE_ABOVE,
            "position": (STATE_SCALE * np.eye(3)).tolist(),
        }

    def _begin(self) -> tuple[Scene, Eye, np.ndarray, float]:
        draw = self.np_random
        seed = int(draw.integers(SCENES if self.taught else 2**62))
        scene = self._found(SceneSpec(seed=seed, object_set=self.object_set, profile=self.profile))
        self._turned = Rotation.from_quat(self._about.placed.orientation).inv()
        aside = START_ASIDE * (self.curriculum.level + 1) / (LEVELS + 1)
        xy = np.array(scene.placed[0].position[:2]) + draw.uniform(-aside, aside, 2)
        tip = top_down(xy, self._about.top + draw.uniform(*START_ABOVE), draw.uniform(-math.pi / 2, math.pi / 2))
        eye = self._drawn_eye()
        self._nudge_at = int(draw.integers(*NUDGE_STEPS)) if self.nudge and draw.random() < NUDGED else None
        way = draw.uniform(-math.pi, math.pi)
        self._nudge_by = NUDGE * np.array([math.cos(way), math.sin(way)])
        return scene, eye, tip, self.gripper.max_width

    def _drawn_eye(self) -> Eye:
        draw = self.np_random
        off = draw.uniform(-MOUNT_SHIFT, MOUNT_SHIFT, 3).tolist(), draw.uniform(-MOUNT_TURN, MOUNT_TURN, 3).tolist()
        return Eye(self.view, intrinsics(FIELD), mount(BESIDE, BEHIND, *off), np.random.default_rng(draw.integers(2**62)))

    def _observe(self) -> Observation:
        if self.taught:
            self.eye = self._drawn_eye()
        return super()._observe()

    def _found(self, spec: SceneSpec) -> Scene:
        """The scene; what is known of it is in `_about` then."""
        key = spec, self.hand_name
        if key in self._surveyed:
            self._about = self._surveyed[key]
            return Scene(self.world.simulation, spec, self._about.conditions, [self._about.placed])
        scene = self.world.build(spec)
        self._about = self._survey(scene)
        if self._guide:
            self._surveyed[key] = self._about
        return scene

    def _survey(self, scene: Scene) -> Surveyed:
        view, placed = scene.observe(), scene.placed[0]
        points = points_in_base(view.exact_depth, view.camera, view.true_camera_pose)[view.segmentation > 0]
        flat = points[:, :2] - points[:, :2].mean(axis=0)
        _, axes = np.linalg.eigh(np.cov(flat.T))
        short, top = math.atan2(axes[1, 0], axes[0, 0]), float(points[:, 2].max())
        about = Surveyed(scene.spec, scene.conditions, placed, np.ptp(flat @ axes, axis=0), short, top)
        if not self._guide:
            return about
        body = pose_from(Rotation.from_quat(placed.orientation).as_matrix(), np.array(placed.position))
        x, y, z = placed.position
        middle = top_down(np.array([x, y]), max(z - BELOW_CENTRE, LOWEST), short)
        return replace(about, grasps=tuple(self._guide.grasps(scene, self.hand_name, body, middle)))

    def _aim(self) -> np.ndarray:
        """(3,) m in the base frame: where tips should be."""
        x, y, z = self._object_position()
        return np.array([x, y, max(z - BELOW_CENTRE, LOWEST)])

    def _advice(self) -> np.ndarray:
        assert self._guide is not None
        x, y, z, turn = self._guide.nearest(self._sent, self._object_pose(), self._about.grasps)
        clear = self._sent[2, 3] - self._about.top
        far = np.array([x, y, z, clear]) / STATE_SCALE
        return np.array([*far[:3], math.cos(2 * turn), math.sin(2 * turn), far[3]], dtype=np.float32)

    def _known(self) -> np.ndarray:
        tip = self.hand.tip_pose()
        way = tip[:3, :3].T @ (self._aim() - tip[:3, 3])
        orientation = self.scene.physics.client.getBasePositionAndOrientation(self._object())[1]
        turn = (Rotation.from_quat(orientation) * self._turned).as_matrix()
        short = self._about.short + math.atan2(turn[1, 0], turn[0, 0])
        angle = 2 * (math.atan2(tip[1, 0], tip[0, 0]) - short)
        sizes = np.append(self._about.sides, self._about.top) / STATE_SCALE
        return np.array([*(way / STATE_SCALE), math.cos(angle), math.sin(angle), *sizes, self.steps / STEPS], dtype=np.float32)

    def _act(self, action: np.ndarray) -> tuple[float, bool, dict[str, Any]]:
        if self.steps == self._nudge_at:
            self._shift_object()
        closing = action[4] > CLOSE_ABOVE
        if not closing:
            turn = Rotation.from_rotvec([0.0, 0.0, MOST_TURN * action[3]]).as_matrix()
            target = self._sent @ pose_from(turn, MOST_SHIFT * action[:3])
            target[2, 3] = max(target[2, 3], LOWEST)
            self._move(target, PHYSICS_STEPS)
        distance = float(np.linalg.norm(self._aim() - self.hand.tip_pose()[:3, 3]))
        if self.taught and self._tipped():
            return -distance, True, {"is_success": False, "distance": distance}
        if not closing and self.steps < STEPS:
            return 0.0, False, {}
        result = self._close_and_lift()
        return 1.0 if result.success else -distance, True, {"is_success": result.success, "distance": distance}

    def _tipped(self) -> bool:
        orientation = self.scene.physics.client.getBasePositionAndOrientation(self._object())[1]
        upright = (Rotation.from_quat(orientation) * self._turned).as_matrix()[2, 2]
        return bool(upright < math.cos(TIPPED))

    def _shift_object(self) -> None:
        """As if something had pushed it; not when fingers are round it."""
        client, body = self.scene.physics.client, self._object()
        position, orientation = client.getBasePositionAndOrientation(body)
        if self.hand.tip_pose()[2, 3] < self._about.top + LOWEST:
            return
        moved = [position[0] + self._nudge_by[0], position[1] + self._nudge_by[1], position[2]]
        client.resetBasePositionAndOrientation(body, moved, orientation)
        client.changeDynamics(body, -1, activationState=AWAKE)
