"""Intrinsics as cameras, drivers and calibration programs write them, to the fields of `CameraIntrinsics`."""

from collections.abc import Mapping, Sequence
from typing import Any

FIELDS = ("fx", "fy", "cx", "cy")
_ROWS = ("K", "k", "camera_matrix", "cameraMatrix", "cam_K", "intrinsic")
"""A 3 x 3 matrix: nested rows, nine numbers row by row, or OpenCV's {rows, cols, data}."""
_COLUMNS = ("intrinsic_matrix",)
"""Nine numbers column by column, as Open3D writes them."""
_VECTORS = ("intrinsics",)
"""fx, fy, cx, cy in a row, as Kalibr writes them."""
_ALIASES = {"ppx": "cx", "ppy": "cy", "image_width": "width", "image_height": "height", "w": "width", "h": "height"}
_DISTORTION = ("distortion", "D", "d", "coeffs", "dist", "dist_coeffs", "distortion_coefficients", "distortion_coeffs")
_COEFFICIENTS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
"""In the order of OpenCV."""
_MODELS = ("distortion_model", "model")
_PINHOLE = ("", "none", "pinhole", "plumb_bob", "radtan", "brown_conrady", "rational_polynomial", "opencv")
_FOREIGN = frozenset({
    "header", "R", "r", "P", "p", "binning_x", "binning_y", "roi", "name", "camera_name", "camera_model", "serial",
    "depth_scale", "rectification_matrix", "projection_matrix", "rostopic", "resolution", "cam_overlaps", "T_cam_imu",
    "T_cn_cnm", "timeshift_cam_imu", "frame", "skew",
})  # fmt: skip
"""What such files also hold, and no planner needs."""


def camera_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields fx, fy, cx, cy, and width, height and distortion where they are told; what nobody knows is left in, to be refused.

    Known are our own names, the same behind `_`, K and camera_matrix, RealSense, Open3D, BOP, ROS camera_info and calibration
    files, OpenCV and Kalibr. Raises ValueError for a matrix that is none and for a lens model that cannot be undone.
    """
    fields = {_ALIASES.get(name.removeprefix("_"), name.removeprefix("_")): value for name, value in given.items()}
    for name in (*_ROWS, *_COLUMNS, *_VECTORS):
        if isinstance(fields.get(name), (Sequence, Mapping)):
            fields.update(zip(FIELDS, _of_matrix(name, fields.pop(name)), strict=True))
    if isinstance(size := fields.get("resolution"), Sequence) and len(size) == 2:
        fields.update(zip(("width", "height"), size, strict=True))
    if isinstance(fields.get("K"), (int, float)):  # an .intr file's skew
        del fields["K"]
    model = next((str(fields.pop(name)) for name in _MODELS if name in fields), "")
    found = next((fields.pop(name) for name in _DISTORTION if fields.get(name) is not None), None)
    if isinstance(found, Mapping):
        found = found.get("data")
    if any(name in fields for name in _COEFFICIENTS):
        found = [fields.pop(name, 0.0) for name in _COEFFICIENTS]
    if found is not None and any(found):
        if model.lower().removeprefix("distortion.").replace(" ", "_") not in _PINHOLE:
            raise ValueError(
                f"distortion of the lens model {model!r} cannot be undone here: undistort the images, and leave it out"
            )
        fields["distortion"] = list(found)
    return {name: value for name, value in fields.items() if name not in _FOREIGN and name not in _DISTORTION[1:]}


def _of_matrix(name: str, value: Any) -> list[float]:
    """fx, fy, cx, cy."""
    if isinstance(value, Mapping):
        value = value.get("data", [value.get(field) for field in FIELDS])
    numbers = [each for row in value for each in (row if isinstance(row, Sequence) else [row])]
    if not all(isinstance(each, (int, float)) for each in numbers):
        raise ValueError(f"{name}: expected numbers, got {str(numbers)[:60]}")
    if name in _VECTORS and len(numbers) == 4:
        return numbers
    if len(numbers) != 9:
        raise ValueError(f"{name}: expected the nine numbers of a 3 x 3 camera matrix, got {len(numbers)}")
    columns = name in _COLUMNS and not isinstance(value[0], Sequence)
    rows = [numbers[k::3] if columns else numbers[3 * k : 3 * k + 3] for k in range(3)]
    if any(abs(wrong) > 1e-6 for wrong in (rows[1][0], rows[2][0], rows[2][1], rows[2][2] - 1)):
        raise ValueError(f"{name}: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got {rows}")
    return [rows[0][0], rows[1][1], rows[0][2], rows[1][2]]
