"""A loop that visibly learns within minutes, in a folder of its own."""
