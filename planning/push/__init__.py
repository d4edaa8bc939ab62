"""Pushes of a closed hand that make a wanted thing, the goal, easier to grasp: candidates, their values, and the choice."""
