"""Files and arguments of the command line to what the client takes. Every ValueError says what was expected instead."""

import difflib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import ValidationError

from grasp_client.cli.scene_files import CLOUD_ENDINGS
from grasp_client.contract import PRESETS, Approach, FailedGrasp, Gripper, RegisteredView, first_problem
from grasp_client.imaging import ImageError, decode_image, decode_rgb, decode_segmask

Decoded = TypeVar("Decoded")
VIEWS = 'expected [{"depth": FILE, "camera": {...}, "camera_pose": [[...]]}, ...], files from the folder of this one'


IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".pgm", ".npy", ".npz", *CLOUD_ENDINGS)


def images_in(paths: Iterable[Path]) -> list[Path]:
    """The files, and of each folder its images in the order of their names. Raises ValueError for a folder without any."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_ENDINGS) if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"{path} has no image: expected files that end in {', '.join(IMAGE_ENDINGS)}")
        found += inside
    return found


def read_image(path: Path, depth_scale: float) -> tuple[Literal["depth", "rgb"], np.ndarray]:
    """A depth image (16-bit PNG, one-channel npy) in metres, or a colour image; what the file holds decides."""
    return _decoded(path, lambda data: decode_image(data, depth_scale=depth_scale))


def read_rgb(path: Path) -> np.ndarray:
    return _decoded(path, decode_rgb)


def read_mask(path: Path, what: str) -> np.ndarray:
    return _decoded(path, lambda data: decode_segmask(data, what=what))


def _decoded(path: Path, decode: Callable[[bytes], Decoded]) -> Decoded:
    try:
        return decode(_bytes(path))
    except ImageError as error:
        raise ValueError(f"{path}: {error}") from error


def read_pose(path: Path) -> list[list[float]]:
    """Camera to robot base, 4x4, from a `.tf` file (from, to, translation, 3 rotation rows), JSON or four rows of numbers."""
    text = _bytes(path).decode(errors="replace")
    expected = f"{path}: expected 4x4 numbers (JSON or four rows), or a .tf file (from, to, translation, 3 rotation rows)"
    if path.suffix == ".tf":
        rows = [_numbers(line, 3, expected) for line in text.split("\n")[2:6]]
        if len(rows) != 4:
            raise ValueError(expected)
        return [[*row, shift] for row, shift in zip(rows[1:], rows[0], strict=True)] + [[0.0, 0.0, 0.0, 1.0]]
    if text.lstrip().startswith("["):
        pose: list[list[float]] = _json(text, expected)  # PlanRequest checks what it holds
        return pose
    return [_numbers(line, 4, expected) for line in text.splitlines() if line.strip()]


def read_gripper(given: str) -> Gripper:
    """The name of a preset, JSON, or a file with it: the fields of the contract's gripper, such as {"max_width": 0.05}."""
    if given in PRESETS:
        return Gripper.model_validate(given)
    text = Path(given).read_text() if not given.lstrip().startswith("{") and Path(given).is_file() else given
    expected = f"expected {', '.join(PRESETS)}, JSON such as '{{\"max_width\": 0.05}}', or a file with it"
    if text is given and not given.lstrip().startswith("{"):
        near = difflib.get_close_matches(given, PRESETS, n=1)
        raise ValueError(f"--gripper {given}: {f'did you mean {near[0]}? ' if near else ''}{expected}")
    try:
        return Gripper.model_validate(_json(text, expected))
    except ValidationError as error:
        raise ValueError(f"--gripper {given}: {first_problem(error, kind=Gripper)}") from error


def read_place(given: str) -> list[float]:
    return _numbers(given, 3, "expected x,y,z in metres")


def read_region(given: str) -> list[float]:
    return _numbers(given, 4, "expected u0,v0,u1,v1 in pixels")


def read_views(path: Path, depth_scale: float) -> tuple[list[np.ndarray], list[RegisteredView]]:
    """Depth images and where each was taken, of a file that names them. Raises ValueError for what cannot be used."""
    told = _json(_bytes(path).decode(errors="replace"), f"{path}: {VIEWS}")
    if not isinstance(told, list) or not all(isinstance(each, dict) and isinstance(each.get("depth"), str) for each in told):
        raise ValueError(f"{path}: {VIEWS}")
    depths, views = [], []
    for each in told:
        kind, image = read_image(path.parent / each["depth"], depth_scale)
        if kind != "depth":
            raise ValueError(f"{path}: {each['depth']} is a colour image; {VIEWS}")
        depths.append(image)
        views.append(RegisteredView.model_validate({name: value for name, value in each.items() if name != "depth"}))
    return depths, views


def read_pixel(given: str) -> list[float]:
    return _numbers(given, 2, "expected u,v in pixels")


def read_bin(given: str) -> Any:
    """`true`, `false`, or JSON, or a file with it, of where a bin stands."""
    if given in ("true", "false"):
        return given == "true"
    text = _bytes(Path(given)).decode(errors="replace") if not given.lstrip().startswith("{") else given
    expected = 'expected true, false, or JSON such as \'{"corners": [[x, y, z], ...], "wall_height": 0.1}\', or a file with it'
    return _json(text, expected)  # PlanRequest checks what it holds


def read_approach(given: str) -> Approach:
    """x,y,z in the base frame or `camera`; the greatest angle from it, rad, may follow."""
    expected = "expected x,y,z or camera, and after it the greatest angle in radians, as in 0,0,-1,0.3 or camera,0.5"
    axis, *more = given.split(",", 1) if given.startswith("camera") else ("", given)
    if axis not in ("", "camera"):
        raise ValueError(f"{expected}, got {given!r}")
    numbers = _numbers(more[0], min(max(more[0].count(",") + 1, 1 if axis else 3), 1 if axis else 4), expected) if more else []
    angle = dict(zip(("max_angle",), numbers if axis else numbers[3:], strict=False))
    return Approach(axis="camera" if axis else numbers[:3], **angle)


def read_failed(given: str) -> FailedGrasp:
    """u,v of a failed grasp's centre in pixels; angle, rad, depth, m, and its predicted quality may follow."""
    expected = "expected u,v[,angle[,depth[,quality]]] in pixels, radians and metres"
    u, v, *more = _numbers(given, min(max(given.count(",") + 1, 2), 5), expected)
    return FailedGrasp(center_px=[u, v], **dict(zip(("angle", "depth", "quality"), more, strict=False)))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def _json(text: str, expected: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{expected}; this is not JSON ({error})") from error


def _numbers(text: str, count: int, expected: str) -> list[float]:
    words = text.replace(",", " ").split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise ValueError(f"{expected}; got {text[:60]!r}")
    return numbers
