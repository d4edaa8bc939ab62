"""How good a planner is, by the protocols that papers report: `python -m sim_worker.benchmark`."""
