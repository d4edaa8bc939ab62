"""Metric maps of a scene: the height map, the table under it, what it hides, and where an open hand fits over it."""
