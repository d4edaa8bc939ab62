"""The worker process: takes scenes, executes grasps, publishes outcomes."""
