"""The one thing that is wanted: what marks it, which cells are its own, and which grasps hold it and nothing else."""
