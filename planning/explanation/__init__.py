"""Why not there: the candidates nearest to what was asked that are refused, for what, and which part of the hand meets what."""

from planning.explanation.refused import CPU_SECONDS, explained

__all__ = ["CPU_SECONDS", "explained"]
