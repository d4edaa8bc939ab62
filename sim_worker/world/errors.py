"""What can go wrong with a simulated scene."""

from __future__ import annotations


class SceneError(RuntimeError):
    """A scene could not be built, or was asked for what it does not have."""
