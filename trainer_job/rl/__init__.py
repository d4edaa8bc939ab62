"""Policies that act step by step: learned in simulated worlds, kept in the registry, measured in episodes."""
