"""Grasps along several approach directions."""
