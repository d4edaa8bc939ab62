"""ROS 2 node that asks a GraspLoop server for grasps."""
