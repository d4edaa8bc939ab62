"""Grasps from a colour image: per-angle heat maps, refined by heights estimated from colours."""
