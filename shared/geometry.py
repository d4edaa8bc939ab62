"""Moved to `grasp_client.geometry`; will be removed in 0.3."""

import warnings

from grasp_client.geometry import *  # noqa: F403

warnings.warn(
    "shared.geometry has moved to grasp_client.geometry; the old name will be removed in 0.3", DeprecationWarning, stacklevel=2
)
