"""A grasp in closed loop: look with the camera on the hand, move as the policy says, look again, until the hand closes."""

import uuid
from collections.abc import Callable

import numpy as np

from grasp_client.client import GraspClient
from grasp_client.contract import Action, CameraIntrinsics, Pose
from grasp_client.options import ActOptions


class Servo:
    """Runs a policy of a server on a robot.

    camera: intrinsics of the camera on the hand. hand_camera_pose: (4, 4), camera frame to hand frame (origin at the tool
    point, x the closing axis, z the approach). policy: a model of the server's registry, or `auto`. colours: it sees colours in
    place of depth. deadline: seconds that a step's answer may take.
    """

    def __init__(
        self,
        client: GraspClient,
        *,
        camera: CameraIntrinsics,
        hand_camera_pose: np.ndarray | Pose,
        policy: str = "auto",
        colours: bool = False,
        deadline: float = 1.0,
    ) -> None:
        self._client, self._deadline = client, deadline
        self._colours = colours
        pose = np.asarray(hand_camera_pose).tolist()
        self._options: ActOptions = {"camera": camera, "hand_camera_pose": pose, "policy": policy}

    def run(self, observe: Callable[[], np.ndarray], move: Callable[[Action], None]) -> list[Action]:
        """One attempt; what was done.

        observe: takes a picture, (H, W) depth, metres or uint16 millimetres, or with `colours` (H, W, 3) uint8. move: brings
        the hand to its present pose times `action.pose`, and where `action.close` is set closes it then and lifts.

        Raises what `GraspClient.act` raises; the hand then stays where it is, open.
        """
        done: list[Action] = []
        episode = uuid.uuid4().hex
        while not done or not done[-1].close:
            picture = observe()
            depth, rgb = (None, picture) if self._colours else (picture, None)
            options: ActOptions = {**self._options, "episode": episode}
            action = self._client.act(depth, rgb, deadline=self._deadline, **options)
            if len(done) + 1 >= action.steps:
                action = action.model_copy(update={"close": True})
            move(action)
            done.append(action)
        return done
