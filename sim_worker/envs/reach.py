"""`GraspLoop/Reach-v0`: bring the tips within 10 cm of an object, by its position and their own.

The reach task of the Kuka environment: observations are the positions of tips and object, m in the base frame; an action,
within (-0.4, -0.4, -0.6) to (0.4, 0.4, 0.3), moves by 5 mm times itself. Reward: 1 for success, which ends the episode; -0.1
for leaving the bounds, which ends it too, and for the 1,000th step, which cuts it off; else 0.
"""

from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from grasp_client.contract import Gripper
from sim_worker.grasp_poses import top_down
from sim_worker.world import Scene, SceneSpec, World
from sim_worker.world.grippers.arm import Arm
from sim_worker.world.grippers.jaw import Jaw
from sim_worker.world.simulation.physics import ATTEMPT_HZ, Physics
from sim_worker.world.simulation.sim_state import HandName

STEPS = 1000
ACTIONS = np.array([[-0.4, -0.4, -0.6], [0.4, 0.4, 0.3]], np.float32)
"""Least and most."""
SCALE = 0.005
"""m that an action of 1 moves."""
NEAR = 0.1
"""m"""
PENALTY = -0.1
BOUNDS = np.array([[-0.3, -0.3, 0.02], [0.3, 0.3, 0.6]])
"""m in the base frame, lowest and highest, of the tips."""
START = np.array([[-0.1, -0.1, 0.35], [0.1, 0.1, 0.45]])
"""m; the tips begin between these."""
PHYSICS_STEPS = 4
"""At 240 Hz."""


class Reach(gymnasium.Env[np.ndarray, np.ndarray]):
    """hand: `floating`, or `arm` for the whole Panda arm. object_set: see SceneSpec."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 60}  # noqa: RUF012  (declared so by gymnasium)

    def __init__(
        self, hand: HandName = "floating", object_set: str = "train", render_mode: Literal["rgb_array"] | None = None
    ) -> None:
        self.hand_name, self.object_set, self.render_mode = hand, object_set, render_mode
        self.action_space = spaces.Box(*ACTIONS)
        self.observation_space = spaces.Box(-1, 1, (6,), np.float32)
        self.world = World(Physics(hz=ATTEMPT_HZ))
        self.scene: Scene
        self._hand: Jaw | Arm
        self._sent = np.eye(4)
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        spec = SceneSpec(seed=int(self.np_random.integers(2**62)), object_set=self.object_set)
        self.scene = self.world.build(spec)
        state = self.scene.stage(Gripper(), self.hand_name)
        assert isinstance(state.hand, Jaw | Arm)
        self._hand, self._object = state.hand, next(iter(state.bodies))
        start = self.np_random.uniform(*START)
        self._sent = top_down(start[:2], start[2], 0.0)
        self._hand.place(self._sent, state.hand.gripper.max_width)
        self.steps = 0
        return self._positions(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self._sent = self._sent.copy()
        self._sent[:3, 3] += SCALE * np.clip(action, *ACTIONS)
        self._hand.follow(self._sent, PHYSICS_STEPS)
        positions = self._positions()
        tip, thing = positions[:3], positions[3:]
        reached = bool(np.linalg.norm(tip - thing) < NEAR)
        left = bool((tip < BOUNDS[0]).any() or (tip > BOUNDS[1]).any())
        late = self.steps >= STEPS
        reward = 1.0 if reached else PENALTY if left or late else 0.0
        return positions, reward, reached or left, late and not (reached or left), {"is_success": reached}

    def render(self) -> np.ndarray:
        """(H, W, 3) uint8: the scene from above, without the hand."""
        return self.scene.observe().rgb

    def close(self) -> None:
        if self.world.physics.client.isConnected():
            self.world.close()

    def _positions(self) -> np.ndarray:
        thing = self.scene.physics.client.getBasePositionAndOrientation(self._object)[0]
        return np.concatenate([self._hand.tip_pose()[:3, 3], thing]).astype(np.float32)
