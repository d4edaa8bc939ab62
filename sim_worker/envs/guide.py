"""What a hand would do that knows the simulation: follow a grasp that was planned exactly and held when tried, as it moves."""

import math
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from grasp_client.contract import Gripper
from grasp_client.geometry import invert
from sim_worker.grasp_poses import pose_in_base
from sim_worker.planner_request import planning_request
from sim_worker.planners import load_planner
from sim_worker.world import Scene
from sim_worker.world.simulation.sim_state import HandName

PLANNER = "antipodal"
"""Geometry alone: it needs no weights."""
GRASPS = 10
ENOUGH = 2
"""Grasps that hold when they are tried; of these it takes the nearer one."""
ALIGNED, STRAIGHT = 0.008, 0.12
"""m and rad off the grasp within which the hand goes down to it."""
OVER_TOP = 0.02
"""m over the object where it waits until then."""
ARRIVED = 0.003
"""m off the grasp's height where it closes."""


class Guide:
    """Steers a hand that is open as wide as it goes. An action moves it by up to `shift` m along each axis of its frame and
    turns it by up to `turn` rad about its approach; its last number closes."""

    def __init__(self, gripper: Gripper, shift: float, turn: float) -> None:
        self.planner = load_planner(PLANNER, Path("models")).planner
        self.gripper, self.shift, self.turn = gripper, shift, turn
        self._grasps: list[np.ndarray] = []
        """Poses (4, 4) in the object's frame."""

    def look(self, scene: Scene, hand: HandName, body: np.ndarray, otherwise: np.ndarray) -> None:
        """Plans in a settled scene whose object is at `body` (4, 4), and tries: the scene has to be set up anew. otherwise: the
        grasp (4, 4) where nothing is planned."""
        view = scene.observe()
        exact = replace(view.observation, depth=view.exact_depth.astype(np.float32))
        view = replace(view, observation=exact, camera_pose=view.true_camera_pose)
        call = planning_request(view, scene.spec, self.gripper, GRASPS, PLANNER)
        planned = [pose_in_base(each, view.camera_pose) for each in self.planner.plan(call.observation, call.request).grasps]
        tried = (pose for pose in planned if scene.attempt(pose, self.gripper.max_width, self.gripper, hand).success)
        found = list(islice(tried, ENOUGH)) or planned[:1] or [otherwise]
        self._grasps = [invert(body) @ pose for pose in found]

    def advice(self, tip: np.ndarray, body: np.ndarray, top: float) -> np.ndarray:
        """The action (5,) float32 of a hand sent to `tip` (4, 4), of an object at `body` (4, 4) that reaches up to `top` m."""
        ways = [self._way(invert(tip) @ body @ grasp) for grasp in self._grasps]
        x, y, z, turn = min(ways, key=lambda way: math.hypot(*way[:2]) / self.shift + abs(way[3]) / self.turn)
        over = math.hypot(x, y) < ALIGNED and abs(turn) < STRAIGHT
        down = z if over else tip[2, 3] - top - OVER_TOP
        action = np.array([x, y, down, 0.0, 0.0]) / self.shift
        action[3:] = turn / self.turn, 1.0 if over and abs(z) < ARRIVED else -1.0
        return np.clip(action, -1, 1).astype(np.float32)

    @staticmethod
    def _way(grasp: np.ndarray) -> tuple[float, float, float, float]:
        """x, y, z, m, and turn about z, rad, to a pose in the tip frame; a jaw turned by half a circle is the same."""
        turn = math.atan2(grasp[1, 0], grasp[0, 0])
        x, y, z = grasp[:3, 3]
        return float(x), float(y), float(z), (turn + math.pi / 2) % math.pi - math.pi / 2
