"""The camera that took the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from grasp_client.contract.base import ApiModel
from grasp_client.contract.camera_forms import camera_fields

ASPECT_TOLERANCE = 0.01
"""Largest relative difference between the sides' ratios of an image and of the size that intrinsics are for."""


_Coefficient = Annotated[float, Field(ge=-1e3, le=1e3)]


def _known_model(distortion: list[float]) -> list[float]:
    if distortion and len(distortion) not in (4, 5, 8):
        raise ValueError(f"expected 4, 5 or 8 numbers in OpenCV's order, got {len(distortion)}")
    return distortion


class CameraIntrinsics(ApiModel):
    """Pinhole intrinsics of the sent image, in pixels: X = (u - cx) z / fx, Y = (v - cy) z / fy.

    Also read: {K}, {camera_matrix}, ppx and ppy, {intrinsic_matrix} of Open3D, {cam_K} of BOP, and what ROS, OpenCV and Kalibr
    write. With `width` and `height` they are those of an image of that size, and scaled to the one that is sent.
    """

    fx: float = Field(ge=0.5, le=1e6, description="focal length along u, pixels")
    fy: float = Field(ge=0.5, le=1e6, description="focal length along v, pixels")
    cx: float = Field(ge=-1e5, le=1e5, description="principal point u, pixels")
    cy: float = Field(ge=-1e5, le=1e5, description="principal point v, pixels")
    width: int | None = Field(None, ge=1, le=100_000, description="of the image that the numbers are for, pixels")
    height: int | None = Field(None, ge=1, le=100_000, description="of the image that the numbers are for, pixels")
    distortion: Annotated[list[_Coefficient], Field(max_length=8), AfterValidator(_known_model)] | None = Field(
        None, description="OpenCV's k1, k2, p1, p2[, k3[, k4, k5, k6]]; undone before planning"
    )

    @model_validator(mode="before")
    @classmethod
    def _any_form(cls, given: Any) -> Any:
        known = not isinstance(given, Mapping) or given.keys() <= cls.model_fields.keys()
        return given if known else camera_fields(given)

    @property
    def is_plain(self) -> bool:
        """Whether neither a size nor distortion is told."""
        return self.width is None and self.height is None and self.distortion is None

    def fitted(self, rows: int, columns: int) -> CameraIntrinsics:
        """The same for an image of another size, without `width` and `height`.

        Raises ValueError when the sides' ratio differs: the image was then cropped, and nobody knows where.
        """
        width, height = self.width or columns, self.height or rows
        if (width, height) == (columns, rows):
            return self.model_copy(update={"width": None, "height": None}) if self.width or self.height else self
        u, v = columns / width, rows / height
        if abs(u / v - 1) > ASPECT_TOLERANCE:
            raise ValueError(
                f"these are the intrinsics of a {width} x {height} image, and the one sent is {columns} x {rows}: expected the "
                "same ratio of the sides. If it was cropped, send fx, fy, cx, cy of the crop, without width and height"
            )
        sizes = {"fx": self.fx * u, "fy": self.fy * v, "cx": (self.cx + 0.5) * u - 0.5, "cy": (self.cy + 0.5) * v - 0.5}
        return self.model_copy(update={**sizes, "width": None, "height": None})
