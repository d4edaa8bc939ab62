"""`GraspLoop/Refine-v0`: correct a planner's best grasp, once, in the hand's own frame.

The one-step decision process of the DexRL repository: an action shifts the proposed grasp by up to 2 cm along x, y, z of its
frame and turns it by up to 0.26 rad about its approach; then it is executed. Reward: 1 when the object was lifted, else -1;
less 0.1 times the squared length of the action. The planner may be any, in this process or on a server, and knows nothing of
the correction; with `cell_error` it is told a camera pose that is off, as in a robot cell whose calibration has slipped.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import cv2
import gymnasium
import numpy as np
from gymnasium import spaces
from scipy.spatial.transform import Rotation

from grasp_client.contract import Gripper
from grasp_client.geometry import invert, pose_from, project, transform
from shared.features.eye_in_hand import SIDE
from sim_worker.grasp_poses import cell_error_of, pose_in_base
from sim_worker.planner_request import planning_request
from sim_worker.planners import load_planner
from sim_worker.worker.exploration import MOST_SHIFT, MOST_TURN
from sim_worker.world import CameraView, Scene, SceneSpec, World
from sim_worker.world.simulation.sim_state import HandName
from sim_worker.world.simulation.spec import ProfileName, SceneKind

EFFORT = 0.1
"""Reward lost per squared length of an action."""
CELL = 0.003
"""m of a pixel of the picture: 19 cm in all."""
SPAN = 0.06
"""m above and below the tips that a picture shows; 0 is as far below, 255 as far above."""
DRAWS = 50
"""Scenes in a row without a proposal before the planner is given up."""

Observation = dict[str, np.ndarray]


class Refine(gymnasium.Env[Observation, np.ndarray]):
    """Observations: `picture` (1, 64, 64) uint8, heights over the tips as the proposed hand sees them (columns along its
    closing axis); `yaw` (2,), cosine and sine of the hand's turn in the base frame, without which no bias of a cell can be
    undone.

    planner: as in sim_worker.planners, e.g. centroid, dense, http://host:8000. cell_error: x, y, z, m, and a rotation vector,
    rad, by which the told camera pose is off in the base frame. hand: `floating`, or `arm` for the whole Panda arm.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012  (declared so by gymnasium)

    def __init__(
        self,
        planner: str = "centroid",
        cell_error: tuple[float, float, float, float, float, float] = (0, 0, 0, 0, 0, 0),
        kind: SceneKind = "single",
        object_set: str = "train",
        profile: ProfileName = "standard",
        hand: HandName = "floating",
        models_dir: Path = Path("models"),
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        self.action_space = spaces.Box(-1, 1, (4,), np.float32)
        self.observation_space: spaces.Space[Any] = spaces.Dict(
            {"picture": spaces.Box(0, 255, (1, SIDE, SIDE), np.uint8), "yaw": spaces.Box(-1, 1, (2,), np.float32)}
        )
        self.planner, self.hand_name, self.render_mode = load_planner(planner, models_dir), hand, render_mode
        self.kind, self.object_set, self.profile = kind, object_set, profile
        self.cell_error = cell_error_of(cell_error)
        self.gripper = Gripper()
        self.world = World()
        self.scene: Scene
        self._proposal: tuple[np.ndarray, float]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        for _ in range(DRAWS):
            spec = SceneSpec(
                seed=int(self.np_random.integers(2**62)), kind=self.kind, object_set=self.object_set, profile=self.profile
            )
            self.scene = self.world.build(spec)
            view = self.scene.observe()
            view = replace(view, camera_pose=self.cell_error @ view.camera_pose)
            named = self.planner
            call = planning_request(view, spec, self.gripper, 1, named.name, named.model_version)
            grasps = named.planner.plan(call.observation, call.request).grasps
            if grasps:
                pose = pose_in_base(grasps[0], view.camera_pose)
                self._proposal = pose, grasps[0].width or self.gripper.max_width
                return _seen(view, pose), {"quality": grasps[0].quality}
        raise RuntimeError(f"planner {self.planner.spec} proposed nothing in {DRAWS} scenes in a row")

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        bounded = np.clip(np.asarray(action, dtype=float), -1, 1)
        pose, width = self._proposal
        turn = Rotation.from_rotvec([0.0, 0.0, MOST_TURN * bounded[3]]).as_matrix()
        corrected = pose @ pose_from(turn, MOST_SHIFT * bounded[:3])
        result = self.scene.attempt(corrected, width, self.gripper, self.hand_name)
        reward = (1.0 if result.success else -1.0) - EFFORT * float(bounded @ bounded)
        view = self.scene.observe()
        seen = _seen(replace(view, camera_pose=self.cell_error @ view.camera_pose), corrected)
        return seen, reward, True, False, {"is_success": result.success, "failure": result.failure}

    def render(self) -> np.ndarray:
        """(H, W, 3) uint8: the scene from above."""
        return self.scene.observe().rgb

    def close(self) -> None:
        if self.world.physics.client.isConnected():
            self.world.close()


def _seen(view: CameraView, pose: np.ndarray) -> Observation:
    """What a hand at `pose` (4, 4), in the told base frame, sees of a view."""
    along = CELL * (np.arange(SIDE) - (SIDE - 1) / 2)
    x, y = np.meshgrid(along, along)
    # Looked up where the tips' plane meets a pixel's ray; a surface 5 cm over it shows some millimetres aside.
    told = invert(np.asarray(view.camera_pose))
    plane = transform(told @ pose, np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3))
    pixels = project(plane, view.camera).reshape(SIDE, SIDE, 2).astype(np.float32)
    depth = view.observation.depth
    assert depth is not None
    sampled = cv2.remap(depth, pixels[..., 0], pixels[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    # Height against the approach, from where the ray meets the surface.
    points = transform(invert(told @ pose), plane / plane[:, 2:] * sampled.reshape(-1, 1))
    height = np.where(sampled > 0, -points[:, 2].reshape(SIDE, SIDE), -SPAN)
    picture = np.rint((np.clip(height / SPAN, -1, 1) + 1) * 127.5).astype(np.uint8)
    yaw = math.atan2(pose[1, 0], pose[0, 0])
    return {"picture": picture[None], "yaw": np.array([math.cos(yaw), math.sin(yaw)], dtype=np.float32)}
