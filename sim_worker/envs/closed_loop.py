"""`GraspLoop/ClosedLoop-v0`: steer a descending hand over a box by what the camera on the hand sees.

The task of the Dofbot grasping environment, with its sizes: a box of 3 cm; the wrist starts at (0, 0.164, 0.2212) m and sinks 1
mm a step; after 100 steps the hand closes and lifts. The box lies in an area that grows from 10 cm x 0 to 10 cm x 5 cm in four
levels, each passed by 8 successes of the last 10 episodes. An action moves the hand by up to 1 cm along x and y of the base
frame. Reward, at the end only: 1 when the box was lifted, else minus the horizontal distance (m) from the hand to the box.
"""

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from grasp_client.contract import Gripper
from grasp_client.geometry import pose_from
from shared.features.eye_in_hand import View
from sim_worker.envs.curriculum import Curriculum
from sim_worker.envs.eye import Eye, intrinsics, mount
from sim_worker.envs.hand_env import HandEnv, Observation
from sim_worker.world import PROFILES, Conditions, Scene, SceneSpec
from sim_worker.world.camera.appearance import draw_colour
from sim_worker.world.objects.objects import Part, PartsModel
from sim_worker.world.simulation.physics import AWAKE
from sim_worker.world.simulation.placement import PlacedObject
from sim_worker.world.simulation.sim_state import HandName

STEPS = 100
MOST_SHIFT = 0.01
"""m a step along x and y."""
DESCENT = 0.001
"""m a step."""
WRIST_START = np.array([0.0, 0.164, 0.2212])
WRIST_TO_TIP = 0.1112
"""m; the tips end 1 cm above the table."""
BESIDE = 0.065
"""m of the camera from the hand's axis; it is as high as the wrist."""
BOX = 0.03
"""m along an edge."""
BOX_MASS = 1.0
"""kg"""
FRICTION = 1.0
"""Of pad on box: 2 for the box times 0.5, Bullet's own, for the fingers."""
REACH = np.array([[-0.1, 0.02], [0.1, 0.2]])
"""m; the small arm carries the hand from the first to the second corner, in x and y."""
HALF_X, FAR_Y = 0.05, 0.125
"""m; the box lies within HALF_X of the middle, and no farther than FAR_Y."""
LEVEL_Y = 0.0125
"""m that a level adds to the area, towards the base."""
LEVELS = 4
FIELD = math.radians(45)
"""rad across the camera's picture."""
SMALL_JAW = Gripper(
    max_width=0.06, finger_width=0.02, finger_thickness=0.01, finger_depth=0.07, palm_width=0.08, palm_thickness=0.04
)
PHYSICS_STEPS: dict[HandName, int] = {"floating": 1, "arm": 12, "mesh": 1}
"""A step at 240 Hz, as the task has it; an arm cannot follow 1 cm in that time."""
POINTING_DOWN = np.diag([1.0, -1.0, -1.0])
"""Tip frame in the base frame."""
NUDGE_STEPS = (30, 60)
"""The tips are 5 cm over the table then at least."""
STATE_SCALE = 0.1
"""m that count as 1 in the privileged state."""


class ClosedLoop(HandEnv):
    """State (privileged): position of the box from the tips along the base frame's axes, in 0.1 m; share of the steps done.

    level: 0 to 4, for good; none: the curriculum. curriculum: one that several worlds share; none: of its own. nudge: m by
    which the box is shifted once in every episode, any way, in one of NUDGE_STEPS. mount_shift, mount_turn: m and rad that the
    camera sits off its mount, any way. varied: by up to so much, drawn evenly for every episode, for the camera where it is
    taught for every step: what has no memory learns of a mount in each. taught: see HandEnv; there is then no curriculum, for
    who is told needs none.
    """

    gripper = SMALL_JAW
    states = 4

    def __init__(
        self,
        observation: View = "depth",
        hand: HandName = "floating",
        privileged: bool = False,
        level: int | None = None,
        curriculum: Curriculum | None = None,
        nudge: float = 0.0,
        mount_shift: float = 0.0,
        mount_turn: float = 0.0,
        varied: bool = False,
        taught: bool = False,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        level = LEVELS if taught else level
        levels = curriculum or (Curriculum(LEVELS) if level is None else Curriculum(level, level))
        super().__init__(spaces.Box(-1, 1, (2,), np.float32), observation, hand, privileged, taught, levels, render_mode)
        self.nudge, self.mount_error, self.varied = nudge, (mount_shift, mount_turn), varied
        self._nudge_at, self._nudge_by = -1, np.zeros(3)

    def interface(self) -> dict[str, Any]:
        x, y, _ = np.diag(POINTING_DOWN).tolist()
        return {
            "environment": "GraspLoop/ClosedLoop-v0",
            "observation": self.view,
            "levels": LEVELS,
            "steps": STEPS,
            "potential": 2,
            "camera": intrinsics(FIELD).model_dump(),
            "mount": mount(BESIDE, WRIST_TO_TIP).tolist(),
            "movement": [[x * MOST_SHIFT, 0.0], [0.0, y * MOST_SHIFT], [0.0, 0.0], [0.0, 0.0]],
            "still": [0.0, 0.0, DESCENT, 0.0],
            "position": (STATE_SCALE * POINTING_DOWN).tolist(),
        }

    def _begin(self) -> tuple[Scene, Eye, np.ndarray, float]:
        x = self.np_random.uniform(-HALF_X, HALF_X)
        y = self.np_random.uniform(FAR_Y - LEVEL_Y * self.curriculum.level, FAR_Y)
        spec = SceneSpec(seed=0)
        conditions = replace(Conditions.draw(PROFILES[spec.profile], spec.random("conditions")), friction=FRICTION)
        box = PartsModel("box", (Part("box", (BOX, BOX, BOX)),))
        colour = draw_colour(False, 0, self.np_random)
        placed = PlacedObject("box", box, BOX_MASS, colour, (float(x), float(y), BOX / 2))
        tip = pose_from(POINTING_DOWN, WRIST_START - [0, 0, WRIST_TO_TIP])
        eye = self._drawn_eye()
        if self.nudge:
            self._nudge_at = int(self.np_random.integers(*NUDGE_STEPS))
            way = self.np_random.uniform(-math.pi, math.pi)
            self._nudge_by = self._size(self.nudge) * np.array([math.cos(way), math.sin(way), 0.0])
        return Scene(self.world.simulation, spec, conditions, [placed]), eye, tip, self.gripper.max_width

    def _drawn_eye(self) -> Eye:
        off = [(self._size(most) * _any_way(self.np_random)).tolist() if most else [0.0] * 3 for most in self.mount_error]
        return Eye(self.view, intrinsics(FIELD), mount(BESIDE, WRIST_TO_TIP, *off))

    def _observe(self) -> Observation:
        if self.taught and self.varied:
            self.eye = self._drawn_eye()
        return super()._observe()

    def _size(self, most: float) -> float:
        """Of a disturbance in this episode."""
        return most * self.np_random.uniform() if self.varied else most

    def _known(self) -> np.ndarray:
        away = self._object_position() - self.hand.tip_pose()[:3, 3]
        return np.append(away / STATE_SCALE, self.steps / STEPS).astype(np.float32)

    def _advice(self) -> np.ndarray:
        away = self._object_position() - self._sent[:3, 3]
        return np.clip(away[:2] / MOST_SHIFT, -1, 1).astype(np.float32)

    def _act(self, action: np.ndarray) -> tuple[float, bool, dict[str, Any]]:
        if self.steps == self._nudge_at:
            self._shift_box()
        target = self._sent.copy()
        target[:3, 3] += [MOST_SHIFT * action[0], MOST_SHIFT * action[1], -DESCENT]
        target[:2, 3] = np.clip(target[:2, 3], *REACH)
        self._move(target, PHYSICS_STEPS[self.hand_name])
        if self.steps < STEPS:
            return 0.0, False, {}
        distance = float(np.linalg.norm((self._object_position() - self.hand.tip_pose()[:3, 3])[:2]))
        result = self._close_and_lift()
        return 1.0 if result.success else -distance, True, {"is_success": result.success, "distance": distance}

    def _shift_box(self) -> None:
        """As if something had pushed it."""
        client, body = self.scene.physics.client, self._object()
        position, orientation = client.getBasePositionAndOrientation(body)
        client.resetBasePositionAndOrientation(body, (np.array(position) + self._nudge_by).tolist(), orientation)
        client.changeDynamics(body, -1, activationState=AWAKE)


def _any_way(random: np.random.Generator) -> np.ndarray:
    """A unit vector (3,), every direction as likely."""
    drawn = random.normal(size=3)
    return drawn / np.linalg.norm(drawn)
