"""What a hand would do that knows the simulation: go for a grasp that was planned exactly and held when tried, as it moves."""

import math
from collections.abc import Sequence
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
GRASPS = 16
ENOUGH = 4
"""Grasps that hold when they are tried; of these it takes the nearest."""


class Guide:
    """Finds grasps for a jaw that is open as wide as it goes, and says which of them is nearest to a hand that moves by up to
    `shift` m along each axis of its frame in a step, and turns by up to `turn` rad about its approach."""

    def __init__(self, gripper: Gripper, shift: float, turn: float) -> None:
        self.planner = load_planner(PLANNER, Path("models")).planner
        self.gripper, self.shift, self.turn = gripper, shift, turn

    def grasps(self, scene: Scene, hand: HandName, body: np.ndarray, otherwise: np.ndarray) -> list[np.ndarray]:
        """Poses (4, 4) in the frame of the object, which is at `body` (4, 4), of grasps that hold when they are tried in the
        settled scene; `otherwise` (4, 4; base frame) where nothing is planned."""
        view = scene.observe()
        exact = replace(view.observation, depth=view.exact_depth.astype(np.float32))
        view = replace(view, observation=exact, camera_pose=view.true_camera_pose)
        call = planning_request(view, scene.spec, self.gripper, GRASPS, PLANNER)
        planned = [pose_in_base(each, view.camera_pose) for each in self.planner.plan(call.observation, call.request).grasps]
        tried = (pose for pose in planned if scene.attempt(pose, self.gripper.max_width, self.gripper, hand).success)
        found = list(islice(tried, ENOUGH)) or planned[:1] or [otherwise]
        return [invert(body) @ pose for pose in found]

    def nearest(self, tip: np.ndarray, body: np.ndarray, grasps: Sequence[np.ndarray]) -> tuple[float, float, float, float]:
        """Of grasps of an object at `body` (4, 4): x, y, z, m, and turn about z, rad, in the frame of a hand at `tip`."""
        ways = [self._way(invert(tip) @ body @ grasp) for grasp in grasps]
        return min(ways, key=lambda way: math.hypot(*way[:2]) / self.shift + abs(way[3]) / self.turn)

    @staticmethod
    def _way(grasp: np.ndarray) -> tuple[float, float, float, float]:
        """x, y, z, m, and turn about z, rad, to a pose in the tip frame; a jaw turned by half a circle is the same."""
        turn = math.atan2(grasp[1, 0], grasp[0, 0])
        x, y, z = grasp[:3, 3]
        return float(x), float(y), float(z), (turn + math.pi / 2) % math.pi - math.pi / 2
