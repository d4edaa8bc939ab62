"""Planners behind one interface, found through the entry points of group `grasploop.planners`."""
