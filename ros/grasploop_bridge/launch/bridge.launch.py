"""`ros2 launch grasploop_bridge bridge.launch.py server_url:=http://...`, with the topics of a RealSense camera."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

DEFAULTS = {"server_url": "http://127.0.0.1:8000", "gripper": "franka_hand", "planner": "auto", "use_sim_time": "false"}
TOPICS = {
    "depth/image": "/camera/camera/aligned_depth_to_color/image_raw",
    "depth/camera_info": "/camera/camera/aligned_depth_to_color/camera_info",
    "color/image": "/camera/camera/color/image_raw",
}


def generate_launch_description() -> LaunchDescription:
    arguments = [DeclareLaunchArgument(name, default_value=value) for name, value in DEFAULTS.items()]
    node = Node(
        package="grasploop_bridge",
        executable="bridge",
        name="grasploop",
        output="screen",
        parameters=[{name: LaunchConfiguration(name) for name in DEFAULTS}],
        remappings=list(TOPICS.items()),
    )
    return LaunchDescription([*arguments, node])
