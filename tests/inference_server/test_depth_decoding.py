"""Depth is decoded by one piece of code: whichever way an image comes, the same units become the same metres."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from serving import CAMERA
from starlette.datastructures import Headers

from grasp_client.contract import PlanRequest
from grasp_client.imaging import ImageLimits, decode_depth, encode_npy, encode_png_depth
from inference_server.decoding.multipart import Part
from inference_server.decoding.observations import observation_of, read_with_options
from inference_server.quality import QualityRequest
from inference_server.routes import process, v2

LIMITS = ImageLimits()
UNITS = np.concatenate([np.r_[np.arange(2**16 - 1), 700].astype("<u2").reshape(256, 256), np.full((512, 256), 700, "<u2")])
"""Every value that a pixel of an integer depth image can have, and enough of a near table for a plausible median."""
SHAPE = ",".join(map(str, UNITS.shape))


def expected(scale: float) -> np.ndarray:
    """The float32 nearest to the true product: scales are decimal, so where 1 / scale is whole the quotient is meant."""
    per_metre = 1 / scale
    doubles = UNITS / per_metre if per_metre.is_integer() else UNITS * scale
    return doubles.astype(np.float32)


@pytest.mark.parametrize("scale", [0.001, 0.0001, 0.00025, 0.0007])
def test_every_way_gives_every_unit_the_same_metres(scale: float) -> None:
    options = json.dumps({"depth_scale": scale})
    raw = {"content-type": "application/octet-stream", "x-shape": SHAPE, "x-dtype": "uint16", "x-request": options}
    npy, query = Headers({"content-type": "application/x-npy"}), {"request": options}
    png = encode_png_depth(UNITS * scale, scale)
    payload = {"shape": list(UNITS.shape), "dtype": "uint16", "data": base64.b64encode(UNITS.tobytes()).decode()}
    metres = {
        "raw": read_with_options(UNITS.tobytes(), Headers(raw), {}, PlanRequest, LIMITS)[0].depth,
        "npy": read_with_options(encode_npy(UNITS), npy, query, PlanRequest, LIMITS)[0].depth,
        "png": decode_depth(png, "image/png", scale),
        "form": observation_of({"depth": Part("depth", "image/png", png)}, scale, LIMITS).depth,
        "gqcnn": read_with_options(encode_npy(UNITS), npy, query, QualityRequest, LIMITS)[0].depth,
        "process": process._item(json.dumps(payload).encode(), json.dumps({"depth_scale": scale, "camera": CAMERA}), LIMITS)[
            0
        ].depth,
        "v2 numbers": infer(scale, {"data": UNITS.ravel().tolist()}),
        "v2 bytes": infer(scale, {"parameters": {"binary_data_size": UNITS.nbytes}}, UNITS.tobytes()),
    }
    for way, found in metres.items():
        np.testing.assert_array_equal(found, expected(scale), err_msg=way)


def infer(scale: float, tensor: dict, data: bytes = b"") -> np.ndarray | None:
    """Depth as the Open Inference Protocol's endpoint takes it."""
    depth = {"name": "depth", "datatype": "UINT16", "shape": list(UNITS.shape), **tensor}
    head = json.dumps({"inputs": [depth], "parameters": {"request": {"depth_scale": scale}}}).encode()
    _, (observation, _) = v2._decode(head + data, str(len(head)), "antipodal", None, LIMITS)
    return observation.depth
