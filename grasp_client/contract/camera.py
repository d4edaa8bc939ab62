"""The camera that took the image."""

from __future__ import annotations

from pydantic import Field

from grasp_client.contract.base import ApiModel


class CameraIntrinsics(ApiModel):
    """Pinhole intrinsics of the sent image, in pixels: X = (u - cx) z / fx, Y = (v - cy) z / fy."""

    fx: float = Field(ge=0.5, le=1e6, description="focal length along u, pixels")
    fy: float = Field(ge=0.5, le=1e6, description="focal length along v, pixels")
    cx: float = Field(ge=-1e5, le=1e5, description="principal point u, pixels")
    cy: float = Field(ge=-1e5, le=1e5, description="principal point v, pixels")
