"""Moved to `grasp_client.contract`; will be removed in 0.3."""

import warnings

from grasp_client.contract import *  # noqa: F403

warnings.warn(
    "shared.contract has moved to grasp_client.contract; the old name will be removed in 0.3", DeprecationWarning, stacklevel=2
)
