"""The simulated work cell: table or bin, objects, camera, hands.

Frames: the robot's base frame is the world frame, z up, table top at z = 0, workspace centred at the origin. Everything
random comes from the scene's seed, so a `SceneSpec` replays a scene, its image and its outcomes bit for bit.
"""

from sim_worker.world.camera.camera import CameraView
from sim_worker.world.grippers.attempt import AttemptResult
from sim_worker.world.simulation.profiles import PROFILES, Conditions, Profile
from sim_worker.world.simulation.scene import Scene, Snapshot
from sim_worker.world.simulation.scene_builder import World
from sim_worker.world.simulation.spec import CameraSpec, SceneError, SceneSpec

__all__ = [
    "PROFILES",
    "AttemptResult",
    "CameraSpec",
    "CameraView",
    "Conditions",
    "Profile",
    "Scene",
    "SceneError",
    "SceneSpec",
    "Snapshot",
    "World",
]
