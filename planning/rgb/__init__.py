"""Grasps from a colour image: per-angle heat maps, refined by what colours tell of heights."""
