"""What the closed-loop environments share: a world, a hand that moves in steps, a camera on it, and replayable episodes."""

from abc import abstractmethod
from typing import Any, Literal, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces
from scipy.spatial.transform import Rotation

from grasp_client.contract import Gripper
from grasp_client.geometry import pose_from
from shared.features.eye_in_hand import SIDE, View, channels
from sim_worker.envs.curriculum import Curriculum
from sim_worker.envs.eye import Eye
from sim_worker.world import AttemptResult, Scene, World
from sim_worker.world.grippers.arm import Arm
from sim_worker.world.grippers.grip import close_and_lift, heights_of
from sim_worker.world.grippers.jaw import Jaw
from sim_worker.world.simulation.physics import ATTEMPT_HZ, Physics
from sim_worker.world.simulation.sim_state import HandName, SimState

Observation: TypeAlias = Any
"""A picture, or with the privileged state a dict."""

MOST_LAG = 0.02
"""m that a hand may be sent ahead of where it is: it pushes on what blocks it, and comes free when it is sent back."""


class HandEnv(gymnasium.Env[Observation, np.ndarray]):
    """A hand that is sent a little further in every step. Subclasses say where a scene begins and how far an action goes.

    Observations are pictures (channels, 64, 64) uint8 of the camera on the hand (shared.features.eye_in_hand). With
    `privileged` they are a dict of `picture` and of `state`, float32, which only a simulator knows: to learn with, never to act
    on.

    observation: depth, rgb or grey. hand: `floating`, or `arm` for the whole Panda arm with the same jaw. taught: what is
    privileged has also `advice`, what a hand would do that knows where things are: an action, unless a subclass says otherwise.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012  (declared so by gymnasium)
    gripper: Gripper
    states: int
    advised: int = 0
    """Numbers of advice; 0: it is an action."""

    def __init__(
        self,
        actions: spaces.Box,
        observation: View,
        hand: HandName,
        privileged: bool,
        taught: bool,
        curriculum: Curriculum,
        render_mode: Literal["rgb_array"] | None,
    ) -> None:
        shown = spaces.Box(0, 255, (channels(observation), SIDE, SIDE), np.uint8)
        known = spaces.Box(-np.inf, np.inf, (self.states,), np.float32)
        advice = spaces.Box(-np.inf, np.inf, (self.advised,), np.float32) if self.advised else actions
        parts: dict[str, spaces.Space[Any]] = {"picture": shown, "state": known, **({"advice": advice} if taught else {})}
        self.observation_space: spaces.Space[Any] = spaces.Dict(parts) if privileged else shown
        self.action_space = actions
        self._least, self._most = actions.low, actions.high
        self.view, self.hand_name, self.privileged, self.render_mode = observation, hand, privileged, render_mode
        self.taught = taught
        self.curriculum = curriculum
        self.world = World(Physics(hz=ATTEMPT_HZ))
        self.scene: Scene
        self.eye: Eye
        self._state: SimState
        self._sent = np.eye(4)
        self._begun: dict[str, Any] = {}
        self._actions: list[np.ndarray] = []

    # -- for subclasses to say

    @abstractmethod
    def _begin(self) -> tuple[Scene, Eye, np.ndarray, float]:
        """A new scene of `np_random`, the camera, the tip pose (4, 4) to start at, and the opening of the jaw, m."""

    @abstractmethod
    def _known(self) -> np.ndarray:
        """(states,) float32: what only a simulator knows."""

    @abstractmethod
    def _advice(self) -> np.ndarray:
        """What a hand that knows it would do, float32; only asked for where it is `taught`."""

    @abstractmethod
    def _act(self, action: np.ndarray) -> tuple[float, bool, dict[str, Any]]:
        """Reward, whether the episode ended, and info, of an action (within the action space)."""

    @abstractmethod
    def interface(self) -> dict[str, Any]:
        """What acting elsewhere needs besides a policy, as JSON.

        `environment`, `observation`, `levels` (the last of the curriculum); `steps`, after which the hand closes; `potential`:
        how many numbers of the privileged state, from the first, are the way to the object; `camera` and its `mount` (4, 4) in
        the tip frame; `movement` and `still`: an action a moves by movement @ a + still, (4,): x, y, z of the tip frame, m, and
        turn about z, rad; `position` (3, 3): times what a policy tells of the object is where it is in the tip frame, m.
        """

    # -- gymnasium's interface

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        random = self.np_random.bit_generator.state
        self._begun = {"random": random, "level": self.curriculum.level}
        self._actions = []
        self.scene, self.eye, tip, opening = self._begin()
        self._state = self.scene.stage(self.gripper, self.hand_name)
        self._heights = heights_of(self.scene.physics, self._state.bodies)
        self.hand.place(tip, opening)
        self._sent = tip
        return self._observe(), {"level": self.curriculum.level}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        bounded = np.clip(np.asarray(action, dtype=np.float64), self._least, self._most)
        self._actions.append(np.asarray(action))
        reward, ended, info = self._act(bounded)
        if ended:
            self.curriculum.add(bool(info["is_success"]))
        return self._observe(), reward, ended, False, info

    def render(self) -> np.ndarray:
        """(64, 64, 3) uint8: what the camera on the hand sees, in colour."""
        return self.eye.colours(self.scene, self.hand.tip_pose())

    def close(self) -> None:
        if self.world.physics.client.isConnected():
            self.world.close()

    # -- to go on after an interruption

    def snapshot(self) -> dict[str, Any]:
        """The episode so far, as JSON: what it began from and what was done."""
        return {**self._begun, "actions": [action.tolist() for action in self._actions]}

    def restore(self, snapshot: dict[str, Any]) -> Observation:
        """Do the episode of a snapshot again, exactly; its last observation."""
        self.curriculum.level = snapshot["level"]
        self.np_random.bit_generator.state = snapshot["random"]
        observation, _ = self.reset()
        for action in snapshot["actions"]:
            observation, *_ = self.step(np.array(action, dtype=self.action_space.dtype))
        return observation

    # -- parts

    @property
    def hand(self) -> Jaw | Arm:
        hand = self._state.hand
        assert isinstance(hand, Jaw | Arm)
        return hand

    @property
    def steps(self) -> int:
        """Taken in this episode."""
        return len(self._actions)

    def _observe(self) -> Observation:
        shown = self.eye.look(self.scene, self.hand.tip_pose())
        if not self.privileged:
            return shown
        return {"picture": shown, "state": self._known(), **({"advice": self._advice()} if self.taught else {})}

    def _move(self, target: np.ndarray, steps: int) -> None:
        """Send the hand to the tip pose `target` (4, 4) within `steps` physics steps."""
        here = self.hand.tip_pose()[:3, 3]
        target[:3, 3] = here + np.clip(target[:3, 3] - here, -MOST_LAG, MOST_LAG)
        self._sent = target
        self.hand.follow(target, steps)

    def _object(self) -> int:
        """The body of the one thing in the scene."""
        return next(iter(self._state.bodies))

    def _object_pose(self) -> np.ndarray:
        """(4, 4) in the base frame."""
        position, orientation = self.scene.physics.client.getBasePositionAndOrientation(self._object())
        return pose_from(Rotation.from_quat(orientation).as_matrix(), np.array(position))

    def _object_position(self) -> np.ndarray:
        """(3,) m in the base frame."""
        return np.array(self.scene.physics.client.getBasePositionAndOrientation(self._object())[0])

    def _close_and_lift(self) -> AttemptResult:
        hand, physics = self.hand, self.scene.physics
        if isinstance(hand, Arm) and not hand.plan_lift():
            return AttemptResult(False, "unreachable", details={"reason": "the arm cannot lift from here"})
        least, force = max(self.gripper.min_width, 1e-3), self.scene.conditions.grip_force
        return close_and_lift(physics, hand, hand.fingers, self._state.bodies, self._heights, least, force, physics.seconds)
