"""Which grasps the robot's arm can get to."""
