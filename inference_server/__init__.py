"""Grasp planning over HTTP: routes, one bounded queue, one inference thread, weights that follow the registry."""
