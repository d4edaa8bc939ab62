"""The planners as a library: from an observation to ranked grasps. Knows neither HTTP nor Redis nor a simulator."""
