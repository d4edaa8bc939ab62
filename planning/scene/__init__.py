"""What every planner sees: the height map with its known and hidden parts, and the way back to image and camera."""
