"""Parallel-jaw grasps on the height map: sampled, fitted, checked for collision, ranked."""
