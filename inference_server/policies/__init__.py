"""Policies that act step by step: which one answers, what its pictures are, what its numbers mean."""
