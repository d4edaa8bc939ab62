"""Intrinsics from an argument or a file of any common kind. Every ValueError says what was expected instead."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from grasp_client.contract import CameraIntrinsics, first_problem

EXPECTED = (
    "expected fx,fy,cx,cy in pixels, or a file with them: JSON or YAML of RealSense, Open3D, BOP, ROS, OpenCV or Kalibr, an "
    ".intr file, or a 3 x 3 matrix as JSON, npy or text"
)
_PARTS = ("intrinsics", "intrinsic", "camera_info", "color", "colour", "depth", "rgb", "camera", "cam0", "0")
"""Names under which a file holds the camera where it holds several things."""


def read_camera(given: str) -> CameraIntrinsics:
    """`fx,fy,cx,cy`, or a file that holds intrinsics; a size and lens distortion that it tells are kept."""
    path = Path(given)
    try:
        found = _of_file(path) if path.is_file() else _of_text(given)
        return CameraIntrinsics.model_validate(found)
    except ValidationError as error:
        raise ValueError(f"{given}: {EXPECTED}; {first_problem(error)}") from error
    except (ValueError, OSError, EOFError) as error:
        missing = "" if path.is_file() or "," in given else "; there is no such file"
        raise ValueError(f"{given}: {EXPECTED}{missing} ({error})") from error


def _of_file(path: Path) -> Any:
    if path.suffix == ".npy":
        return {"K": np.load(path, allow_pickle=False).tolist()}
    text = path.read_text()
    if path.suffix in (".yaml", ".yml"):
        return _camera_in(_yaml(text))
    if text.lstrip()[:1] in ("{", "["):
        return _camera_in(json.loads(text))
    return _of_text(text)


def _of_text(text: str) -> dict[str, Any]:
    numbers = [float(word) for word in text.replace(",", " ").split()]
    if len(numbers) == 9:
        return {"K": numbers}
    if len(numbers) != 4:
        raise ValueError(f"got {len(numbers)} numbers")
    return dict(zip(("fx", "fy", "cx", "cy"), numbers, strict=True))


def _camera_in(found: Any) -> Any:
    """The part of a file that tells of the camera."""
    if isinstance(found, list):
        return {"K": found}
    for name in _PARTS:
        part = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(part, Mapping):
            return _camera_in(part)
    return found


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ValueError("reading YAML needs PyYAML: pip install pyyaml") from error

    # OpenCV's matrices have a tag of their own, and its files a directive at their head that is no YAML.
    body = (text.partition("\n")[2] if text.startswith("%YAML:") else text).replace("!!opencv-matrix", "")
    try:
        return yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise ValueError(f"this is no YAML: {str(error).splitlines()[0]}") from error
