"""Weights that follow the registry: loaded, warmed and swapped between batches."""
