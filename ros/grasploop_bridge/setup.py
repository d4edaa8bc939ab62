from setuptools import setup

setup(
    name="grasploop_bridge",
    version="0.1.0",
    packages=["grasploop_bridge"],
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/grasploop_bridge"]),
        ("share/grasploop_bridge", ["package.xml"]),
        ("share/grasploop_bridge/launch", ["launch/bridge.launch.py"]),
    ],
    install_requires=["setuptools", "grasploop-client"],
    license="Apache-2.0",
    description="Grasps of a GraspLoop server for the images of ROS 2 topics",
    entry_points={"console_scripts": ["bridge = grasploop_bridge.bridge:main"]},
)
