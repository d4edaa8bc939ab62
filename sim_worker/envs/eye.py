"""The camera on the hand: where it sits, and the small pictures that it gives."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation

from grasp_client.contract import CameraIntrinsics
from grasp_client.geometry import pose_from
from shared.features.eye_in_hand import SIDE, View, picture
from sim_worker.world import Scene
from sim_worker.world.camera.camera import over_table, render
from sim_worker.world.camera.sensor import sense

TILT = 0.5
"""rad by which it leans towards the fingers."""


def mount(beside: float, behind: float, shift: Sequence[float] = (0, 0, 0), turn: Sequence[float] = (0, 0, 0)) -> np.ndarray:
    """Pose (4, 4) of the camera in the tip frame, `beside` m along its y and `behind` m short of the tips, with the fingers at
    the picture's top; off by `shift`, m, and the rotation vector `turn`, rad, of its own frame."""
    s, c = math.sin(TILT), math.cos(TILT)
    upright = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    error = pose_from(Rotation.from_rotvec(turn).as_matrix(), np.asarray(shift, dtype=float))
    mounted: np.ndarray = pose_from(upright, np.array([0.0, beside, -behind])) @ error
    return mounted


def intrinsics(field: float) -> CameraIntrinsics:
    """Of a picture of SIDE pixels that sees `field` rad across."""
    focal = SIDE / 2 / math.tan(field / 2)
    return CameraIntrinsics(fx=focal, fy=focal, cx=(SIDE - 1) / 2, cy=(SIDE - 1) / 2)


@dataclass(frozen=True)
class Eye:
    """A camera at `mount` (4, 4) in the tip frame of the hand. noise: of its depth, drawn anew for every picture; none:
    exact."""

    view: View
    camera: CameraIntrinsics
    mount: np.ndarray
    noise: np.random.Generator | None = None

    def look(self, scene: Scene, tip: np.ndarray) -> np.ndarray:
        """(channels, SIDE, SIDE) uint8 from a hand whose tips are at `tip` (4, 4), as things stand in the simulation."""
        depth, paint = self._render(scene, tip)
        if self.view != "depth":
            return picture(self.view, None, paint())
        if self.noise is not None:
            depth = sense(depth, scene.conditions.sensor, self.noise, self.camera.fx)
        return picture(self.view, depth, None)

    def colours(self, scene: Scene, tip: np.ndarray) -> np.ndarray:
        """(SIDE, SIDE, 3) uint8, whatever the view is."""
        return self._render(scene, tip)[1]()

    def _render(self, scene: Scene, tip: np.ndarray) -> tuple[np.ndarray, Callable[[], np.ndarray]]:
        pose = tip @ self.mount
        image = render(scene.physics, self.camera, SIDE, SIDE, pose, scene.appearance.light)
        depth, bare, _ = over_table(image, self.camera, pose)
        return depth, partial(scene.appearance.paint, image.rgb, bare, depth, self.camera, pose)
