"""Grasps drawn from a depth image without a planner, to explore and to label."""
