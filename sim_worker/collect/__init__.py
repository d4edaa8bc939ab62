"""Labelled grasps of many seeded scenes, as shards: `python -m sim_worker.collect`."""
