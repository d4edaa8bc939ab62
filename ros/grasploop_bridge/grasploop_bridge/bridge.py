"""The node `grasploop`: images in from topics or requests, grasps out as messages, poses and markers, outcomes back.

Subscribes depth/image, depth/camera_info, color/image, outcomes. Publishes grasps, grasp_poses, markers. Offers the service and
the action plan_grasps. Everything that is asked of the server goes through grasp_client; nothing here plans.
"""

import json
from collections import deque
from typing import Any

import rclpy
from geometry_msgs.msg import PoseArray
from grasploop_msgs.action import PlanGrasps as PlanGraspsAction
from grasploop_msgs.msg import GraspArray, GraspOutcome
from grasploop_msgs.srv import PlanGrasps
from pydantic import ValidationError
from rclpy.action import ActionServer
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import MarkerArray

from grasp_client import GraspClient, GraspServerError
from grasp_client.contract import plain_message
from grasploop_bridge.conversions import camera_of, colour_of, depth_of, grasps_of, markers_of, poses_of

PARAMETERS: dict[str, Any] = {
    "server_url": "http://127.0.0.1:8000", "api_key": "", "deadline": 10.0,
    "planner": "auto", "gripper": "franka_hand", "n_grasps": 10, "options_json": "{}",
    "continuous": False, "every_image": False, "slop": 0.03, "base_frame": "", "camera_pose": [0.0] * 16,
}  # fmt: skip
"""continuous: plan on images as they come, not only when asked; every_image: on each of them, however late, as from a bag.
slop: most seconds between a depth image and the colour beside it. base_frame, camera_pose: the frame in which poses are told,
and the camera's pose in it, row by row; zeros: not known."""
KEPT = 10
"""Colour images that may still meet their depth image."""


class Bridge(Node):
    """One camera and one server."""

    def __init__(self) -> None:
        super().__init__("grasploop")
        for name, value in PARAMETERS.items():
            self.declare_parameter(name, value)
        self.client = GraspClient(self._get("server_url"), api_key=self._get("api_key") or None, deadline=self._get("deadline"))
        self._colour: deque[Image] = deque(maxlen=KEPT)
        self._info: CameraInfo | None = None
        self._newest: Image | None = None
        group, one_by_one = ReentrantCallbackGroup(), MutuallyExclusiveCallbackGroup()
        quality = QoSProfile(depth=1000) if self._get("every_image") else qos_profile_sensor_data
        sensor = {"qos_profile": quality, "callback_group": group}
        # One image at a time: while one is planned, newer ones take the place of those that wait.
        self.create_subscription(Image, "depth/image", self._take_depth, quality, callback_group=one_by_one)
        self.create_subscription(CameraInfo, "depth/camera_info", self._take_info, **sensor)
        self.create_subscription(Image, "color/image", self._take_colour, **sensor)
        self.create_subscription(GraspOutcome, "outcomes", self._report, 10, callback_group=group)
        self._grasps = self.create_publisher(GraspArray, "grasps", 10)
        self._poses = self.create_publisher(PoseArray, "grasp_poses", 10)
        self._markers = self.create_publisher(MarkerArray, "markers", 10)
        self.create_service(PlanGrasps, "plan_grasps", self._serve, callback_group=group)
        self._action = ActionServer(self, PlanGraspsAction, "plan_grasps", self._act, callback_group=group)

    def _get(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _take_info(self, info: CameraInfo) -> None:
        self._info = info

    def _take_colour(self, image: Image) -> None:
        self._colour.append(image)

    def _take_depth(self, image: Image) -> None:
        self._newest = image
        if self._get("continuous"):
            try:
                self._publish(self._plan(PlanGrasps.Request()))
            except (ValueError, GraspServerError) as error:
                self.get_logger().warning(_told(error)[1], throttle_duration_sec=5.0)

    def _plan(self, asked: Any) -> GraspArray:
        """Plan on what was sent, or on the newest image. Raises ValueError, GraspServerError."""
        depth, colour, info = asked.depth, asked.color, asked.camera_info
        if not depth.data and not colour.data:
            if self._newest is None:
                raise ValueError("no image was sent, and none has come on depth/image yet")
            depth, info = self._newest, self._info or CameraInfo()
            colour = self._beside(depth) or colour
        header = depth.header if depth.data else colour.header
        plan = self.client.predict_grasp(
            depth=depth_of(depth) if depth.data else None,
            rgb=colour_of(colour) if colour.data else None,
            **self._options(asked, info),
        )
        return grasps_of(plan, header, self._get("base_frame"))

    def _publish(self, found: GraspArray) -> None:
        """What somebody listens to: a marker is a hundred values, and messages for nobody take longer than the answer."""
        for publisher, message in ((self._grasps, lambda found: found), (self._poses, poses_of), (self._markers, markers_of)):
            if publisher.get_subscription_count():
                publisher.publish(message(found))

    def _options(self, asked: Any, info: CameraInfo) -> dict[str, Any]:
        options = {"planner": asked.planner or self._get("planner"), "n_grasps": asked.n_grasps or self._get("n_grasps")}
        gripper = asked.gripper or self._get("gripper")
        options["gripper"] = json.loads(gripper) if gripper.lstrip().startswith("{") else gripper
        if info.k[0] > 0 or info.width:
            options["camera"] = camera_of(info)
        pose = list(self._get("camera_pose"))
        if any(pose):
            options["camera_pose"] = [pose[row : row + 4] for row in (0, 4, 8, 12)]
        return {**options, **json.loads(self._get("options_json")), **json.loads(asked.options_json or "{}")}

    def _beside(self, depth: Image) -> Image | None:
        """The colour image of the same moment, if it came."""
        near = [(abs(_seconds(each) - _seconds(depth)), each) for each in self._colour]
        apart, found = min(near, key=lambda pair: pair[0], default=(float("inf"), None))
        return found if apart <= self._get("slop") else None

    def _serve(self, request: PlanGrasps.Request, response: PlanGrasps.Response) -> PlanGrasps.Response:
        return self._answer(request, response)

    def _answer(self, request: Any, response: Any) -> Any:
        try:
            response.result, response.success = self._plan(request), True
            self.executor.create_task(self._publish, response.result)  # who asked does not wait for it
        except (ValueError, GraspServerError) as error:
            response.error_code, response.message = _told(error)
        return response

    def _act(self, goal: ServerGoalHandle) -> PlanGraspsAction.Result:
        goal.publish_feedback(PlanGraspsAction.Feedback(state="planning"))
        result = self._answer(goal.request, PlanGraspsAction.Result())
        (goal.succeed if result.success else goal.abort)()
        return result

    def _report(self, outcome: GraspOutcome) -> None:
        try:
            self.client.report_outcome(
                request_id=outcome.request_id,
                rank=outcome.rank,
                success=outcome.success,
                failure=outcome.failure or None,
                group=outcome.group or None,
            )
        except (ValueError, GraspServerError) as error:
            self.get_logger().error(f"the outcome of {outcome.request_id} was not taken: {_told(error)[1]}")


def _seconds(image: Image) -> float:
    return image.header.stamp.sec + 1e-9 * image.header.stamp.nanosec


def _told(error: Exception) -> tuple[str, str]:
    """Code and message of what went wrong."""
    if isinstance(error, GraspServerError):
        return error.code, error.message
    if isinstance(error, ValidationError):
        wrong = [f"{'.'.join(map(str, each['loc']))}: {plain_message(each)}" for each in error.errors()]
        return "invalid_options", "; ".join(wrong)
    return "invalid_input", str(error)


def main() -> None:
    rclpy.init()
    node = Bridge()
    executor = MultiThreadedExecutor(num_threads=4)
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
