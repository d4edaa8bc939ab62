"""Uses the bridge as a robot's programs do, with the real rclpy: `use_bridge.py URL`. Prints one JSON object."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseArray
from grasploop_bridge.bridge import Bridge
from grasploop_bridge.conversions import colour_of, depth_of, pose_message
from grasploop_msgs.action import PlanGrasps as PlanGraspsAction
from grasploop_msgs.msg import GraspArray, GraspOutcome
from grasploop_msgs.srv import PlanGrasps
from rclpy.action import ActionClient
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import MarkerArray

from grasp_client import GraspClient

CALLS, IMAGES = 30, 100
CAMERA = {"fx": 600.0, "fy": 600.0, "cx": 319.5, "cy": 239.5}
found: dict[str, Any] = {"checks": {}}


def check(name: str, value: object) -> None:
    found["checks"][name] = "ok" if value is True else f"failed: {value}"


def block() -> np.ndarray:
    depth = np.full((480, 640), 700, np.uint16)
    depth[184:296, 302:340] = 650
    return depth


def image(values: np.ndarray, encoding: str, number: int = 0) -> Image:
    message = Image(height=values.shape[0], width=values.shape[1], encoding=encoding, step=values.strides[0])
    message.data, message.header.frame_id, message.header.stamp.sec = values.tobytes(), "camera", number
    return message


def camera_info() -> CameraInfo:
    k = [CAMERA["fx"], 0.0, CAMERA["cx"], 0.0, CAMERA["fy"], CAMERA["cy"], 0.0, 0.0, 1.0]
    return CameraInfo(height=480, width=640, k=k, distortion_model="plumb_bob", d=[0.0] * 5)


def wait(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def call(client: Any, request: PlanGrasps.Request) -> PlanGrasps.Response:
    future, answered = client.call_async(request), Event()
    future.add_done_callback(lambda _: answered.set())
    if not answered.wait(60.0):
        raise TimeoutError("the service did not answer")
    return future.result()


def conversions() -> None:
    depth = block()
    padded = np.zeros((480, 700), np.uint16)
    padded[:, :640] = depth
    message = image(padded, "16UC1")
    message.width = 640
    check("rows may be longer than their pixels", bool(np.allclose(depth_of(message), depth / 1000)))
    swapped = image(depth.byteswap(), "16UC1")
    swapped.is_bigendian = 1
    check("big-endian depth is read", bool(np.allclose(depth_of(swapped), depth / 1000)))
    metres = image(np.where(depth > 0, depth / 1000, np.nan).astype(np.float32), "32FC1")
    check("depth in metres is read", bool(np.allclose(depth_of(metres), depth / 1000)))
    bgr = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3)
    check("BGR is turned", bool((colour_of(image(bgr, "bgr8")) == bgr[..., ::-1]).all()))
    rng = np.random.default_rng(0)
    for _ in range(200):
        matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        matrix *= np.sign(np.linalg.det(matrix))
        pose = np.eye(4)
        pose[:3, :3] = matrix
        q = pose_message(pose).orientation
        x, y, z, w = q.x, q.y, q.z, q.w
        again = np.array([
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ])  # fmt: skip
        if not np.allclose(again, matrix, atol=1e-6):
            return check("poses are quaternions", "a rotation came back as another")
    check("poses are quaternions", True)


def service(url: str, client: Any) -> None:
    request = PlanGrasps.Request(depth=image(block(), "16UC1", 7), camera_info=camera_info())
    reply = call(client, request)
    check("a sent image is planned", (reply.success and len(reply.result.grasps) > 0) or reply.message)
    check("stamp and frame are the image's", reply.result.header.stamp.sec == 7 and reply.result.header.frame_id == "camera")
    direct = GraspClient(url)
    depth, options = block() / np.float32(1000), {"camera": {**CAMERA, "width": 640, "height": 480}, "gripper": "franka_hand"}
    plan = direct.predict_grasp(depth=depth, **options)
    best = reply.result.grasps[0].pose.position
    check("poses are those of HTTP", bool(np.allclose([best.x, best.y, best.z], np.array(plan.grasps[0].pose_camera)[:3, 3])))
    over_ros, over_http = [], []
    for _ in range(CALLS):  # in turn, so that both meet the same machine
        started = time.perf_counter()
        call(client, request)
        over_ros.append(time.perf_counter() - started)
        started = time.perf_counter()
        direct.predict_grasp(depth=depth, **options)
        over_http.append(time.perf_counter() - started)
    found["service_p50_ms"], found["http_p50_ms"] = (1e3 * statistics.median(each) for each in (over_ros, over_http))
    wrong = call(client, PlanGrasps.Request(depth=image(block(), "8UC7"), camera_info=camera_info()))
    check("a wrong encoding is told", not wrong.success and "8UC7" in wrong.message)
    wrong = call(client, PlanGrasps.Request(depth=image(block(), "16UC1"), planner="none"))
    check("the server's refusal is told", (wrong.success, wrong.error_code) == (False, "unknown_planner"))
    wrong = call(client, PlanGrasps.Request(depth=image(block(), "16UC1"), options_json='{"grippr": 1}'))
    check("an unknown option is told", not wrong.success and "grippr" in wrong.message)
    wrong = call(client, PlanGrasps.Request())
    check("no image at all is told", not wrong.success and "no image" in wrong.message)


def main(url: str) -> None:
    rclpy.init(args=["--ros-args", "-p", f"server_url:={url}", "-p", "continuous:=true", "-p", "every_image:=true"])
    bridge, robot = Bridge(), Node("robot")
    executors = MultiThreadedExecutor(num_threads=4), SingleThreadedExecutor()  # each as in a process of its own
    for executor, node in zip(executors, (bridge, robot), strict=True):
        executor.add_node(node)
        Thread(target=executor.spin, daemon=True).start()
    client = robot.create_client(PlanGrasps, "plan_grasps")
    check("the service is there", client.wait_for_service(timeout_sec=30.0))
    conversions()
    service(url, client)

    arrays: list[GraspArray] = []
    poses: list[PoseArray] = []
    markers: list[MarkerArray] = []
    for kind, name, into in (
        (GraspArray, "grasps", arrays),
        (PoseArray, "grasp_poses", poses),
        (MarkerArray, "markers", markers),
    ):
        robot.create_subscription(kind, name, lambda message, into=into: into.append(message), IMAGES)
    depth_topic, info_topic = (
        robot.create_publisher(kind, name, IMAGES) for kind, name in ((Image, "depth/image"), (CameraInfo, "depth/camera_info"))
    )
    wait(lambda: depth_topic.get_subscription_count() > 0 and info_topic.get_subscription_count() > 0)
    info_topic.publish(camera_info())
    wait(lambda: bridge._info is not None)
    for number in range(IMAGES):  # as from a bag
        depth_topic.publish(image(block(), "16UC1", number))
    wait(lambda: len(markers) >= IMAGES, 120)
    found["images"], found["answers"] = IMAGES, len({each.header.stamp.sec for each in arrays})
    check("poses and markers come with each", len(poses) == len(arrays) == len(markers))
    check("a marker for each of the best", len(markers[-1].markers) == 1 + min(20, len(arrays[-1].grasps)))

    action = ActionClient(robot, PlanGraspsAction, "plan_grasps")
    action.wait_for_server(timeout_sec=30.0)
    states: list[str] = []
    sent = action.send_goal_async(PlanGraspsAction.Goal(), feedback_callback=lambda each: states.append(each.feedback.state))
    wait(sent.done)
    result = sent.result().get_result_async()
    wait(result.done)
    check("the action plans on the newest image", result.result().result.success and states == ["planning"])

    outcomes = robot.create_publisher(GraspOutcome, "outcomes", 10)
    wait(lambda: outcomes.get_subscription_count() > 0)
    outcomes.publish(GraspOutcome(request_id=arrays[-1].request_id, rank=0, success=False, failure="slipped", group="cell"))
    print(json.dumps(found), flush=True)
    sys.stdin.readline()  # until the outcome has been looked for
    for executor in executors:
        executor.shutdown()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
