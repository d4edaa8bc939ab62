"""Simulated robots: they ask the server for grasps, execute them in PyBullet and report what happened."""
