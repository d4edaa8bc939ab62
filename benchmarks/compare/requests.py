"""Requests as bytes: the ways in which an observation and its options are sent, and the made-up views that are sent."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from PIL import Image

from benchmarks.compare import images
from benchmarks.compare.images import Camera

LARGE = Camera(480, 640, 600.0)
SMALL = Camera()
TINY = Camera(120, 160, 150.0)
LEANING = Camera(tilt=0.35)
LENGTH_HEADER = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Recorded:
    """One request. planner: who answers it, also where it asks for `auto` or the endpoint chooses."""

    name: str
    planner: str
    path: str
    body: bytes
    headers: dict[str, str]

    @property
    def own_depth_decoding(self) -> bool:
        """Whether it sends integer depth to an endpoint that used to turn it into metres by code of its own."""
        return self.name in ("v2 binary uint16", "gqcnn grasps on an image")


@dataclass(frozen=True)
class View:
    """What a camera sees of a table, without errors."""

    camera: Camera
    depth: np.ndarray
    rgb: np.ndarray
    shows: np.ndarray

    def known(self, **more: Any) -> dict[str, Any]:
        """Options with the camera and where it is; of a camera that looks straight down the table's distance, too."""
        table = {} if self.camera.tilt else {"table_depth": images.CAMERA_HEIGHT}
        pose = np.round(self.camera.pose(), 6).tolist()
        return {"camera": self.camera.intrinsics(), "camera_pose": pose, **table, **more}

    def camera_only(self, **more: Any) -> dict[str, Any]:
        return {"camera": self.camera.intrinsics(), **more}

    def failed(self, number: int, **more: Any) -> dict[str, Any]:
        """A failed grasp in the middle of what shows thing `number`."""
        pixels = np.argwhere(self.shows == number)
        if not len(pixels):
            raise ValueError(f"thing {number} is hidden: name another")
        v, u = pixels.mean(axis=0).tolist()
        return {"center_px": [round(u, 1), round(v, 1)], **more}


@cache
def few(camera: Camera = SMALL) -> View:
    return View(camera, *images.draw(images.few(), camera))


@cache
def clutter(seed: int, camera: Camera = SMALL) -> View:
    return View(camera, *images.draw(images.clutter(seed), camera))


@cache
def slab() -> View:
    return View(SMALL, *images.draw(images.slab(), SMALL))


def raw(name: str, planner: str, depth: np.ndarray, options: dict[str, Any], ask: str | None = None) -> Recorded:
    """Raw depth, uint16 or float32. ask: the planner that the request names where that is not who answers."""
    headers = {
        "Content-Type": "application/octet-stream",
        "X-Shape": f"{depth.shape[0]},{depth.shape[1]}",
        "X-Dtype": str(depth.dtype),
        "X-Request": json.dumps({"planner": ask or planner, **options}),
    }
    return Recorded(name, planner, "/predict_grasp", depth.tobytes(), headers)


def bare(name: str, planner: str, image: np.ndarray, options: dict[str, Any], *, kind: str, ask: str | None = None) -> Recorded:
    """An image as the whole body, kind `png` or `x-npy`."""
    query = quote(json.dumps({"planner": ask or planner, **options}))
    data, media_type = (png(image), "image/png") if kind == "png" else (npy(image), "application/x-npy")
    return Recorded(name, planner, f"/predict_grasp?request={query}", data, {"Content-Type": media_type})


def form(
    name: str, planner: str, parts: dict[str, np.ndarray], options: dict[str, Any] | None, *, path: str = "/predict_grasp",
    npys: Sequence[str] = (), ask: str | None = None,
) -> Recorded:  # fmt: skip
    """A form of images, as PNG where `npys` does not name them."""
    files: dict[str, Any] = {
        part: (part, npy(image), "application/x-npy") if part in npys else (part, png(image), "image/png")
        for part, image in parts.items()
    }
    if options is not None:
        asked = options if path == "/gqcnn" else {"planner": ask or planner, **options}
        files["request"] = (None, json.dumps(asked), "application/json")
    return Recorded(name, planner, path, *multipart(files))


def multipart(files: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a form, with one boundary for all so that the bytes are the same at every call."""
    content_type = {"Content-Type": "multipart/form-data; boundary=recorded-request"}
    built = httpx.Request("POST", "http://server", files=files, headers=content_type)
    return built.read(), content_type


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    return stream.getvalue()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
