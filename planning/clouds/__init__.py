"""A cloud of points as the depth image that a camera at its viewpoint would give, so that every planner takes clouds."""

from planning.clouds.rendering import in_cloud_frame, rendered

__all__ = ["in_cloud_frame", "rendered"]
