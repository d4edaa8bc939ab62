"""What geometry never does: distances and thresholds that proposals, fits, filters and scores of several planners share."""

TABLE_GAP = 0.0025
"""Fingertips stay this far above the table, m."""
FINGER_GAP = 0.002
"""Fingers stay this far above whatever lies under them, m: readings of surfaces are about so noisy."""
PALM_GAP = 0.004
"""The palm stays this far above whatever lies under it, m."""
PADDING = 0.002
"""What approaches is checked this much wider on every side, m: a cell of the map, and what a robot misses its pose by."""
LEAST_OVERLAP = 0.0035
"""Least height of the object above the fingertips, m: with less the fingers close on its upper edge and slip."""
NOISE_DEVIATIONS = 4.0
"""What rises less than this many standard deviations of the table's readings is not taken for an object."""
TRUNCATED_COST = 3.0
"""What it costs, as a logit of success, that the thing held reaches out of view or region: a robot arm, a bin wall."""
RETREAT = 0.10
"""Distance of the pre-grasp pose before the grasp along the approach, m."""
