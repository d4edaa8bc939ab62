"""Outcomes over HTTP, for robots without access to the queue."""
