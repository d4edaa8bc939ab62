"""Old names of what planners of other packages import from `planning` now; will be removed in 0.3."""
