"""`refined`: the grasps of another planner, corrected by what a cell's own outcomes have taught."""
