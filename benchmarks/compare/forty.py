"""The forty recorded requests: every planner, every way to send an image, every option; the same bytes at every call."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from benchmarks.compare import images
from benchmarks.compare.requests import (
    LARGE,
    LEANING,
    LENGTH_HEADER,
    TINY,
    Recorded,
    View,
    bare,
    clutter,
    few,
    form,
    multipart,
    npy,
    raw,
    slab,
)
from benchmarks.compare.trees import ROOT

WIDE_JAW = {"max_width": 0.14, "finger_width": 0.022, "finger_thickness": 0.014, "finger_depth": 0.06, "palm_width": 0.15}
NARROW_JAW = {"max_width": 0.05, "min_width": 0.015, "finger_width": 0.01, "finger_thickness": 0.006, "tcp_offset": 0.01}
SMALL_CUP = {"kind": "suction", "cup_radius": 0.0075}
CUP = {"kind": "suction", "cup_radius": 0.015}


@cache
def recorded() -> tuple[Recorded, ...]:
    """All forty, in a fixed order; each with an id of its own, since a server may draw by the id."""
    everything = (*_antipodal(), *_dense(), *_auto(), *_gqcnn(), *_heatmap(), *_suction(), *_both_hands(), *_other_endpoints())
    return tuple(
        replace(each, headers={**each.headers, "X-Request-ID": f"recorded-{number}"}) for number, each in enumerate(everything)
    )


def _example() -> tuple[np.ndarray, dict[str, Any]]:
    """The observation of the documentation: a simulated pile, uint16 mm, with its camera and pose."""
    folder = ROOT / "docs" / "example"
    told = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("camera", "camera_pose")}
    return np.asarray(Image.open(folder / "depth.png")).astype("<u2"), told


def _antipodal() -> list[Recorded]:
    large, pile, leaning = few(LARGE), clutter(1), clutter(2, LEANING)
    failed = [pile.failed(1, angle=0.3, depth=0.66, quality=0.95), pile.failed(4)]
    wide = large.known(gripper=WIDE_JAW, n_grasps=50)
    return [
        raw("antipodal raw uint16", "antipodal", images.millimetres(images.noisy(large.depth, 1)), large.known()),
        raw("antipodal without a camera", "antipodal", few().depth, {"n_grasps": 5}),
        form("antipodal leaning", "antipodal", {"depth": images.millimetres(leaning.depth)},
             leaning.known(return_heatmap=True)),
        bare("antipodal region", "antipodal", images.millimetres(pile.depth),
             pile.camera_only(region=[80, 60, 230, 180], min_quality=0.2), kind="png"),
        raw("antipodal failed", "antipodal", images.noisy(pile.depth, 2), pile.known(failed=failed)),
        raw("antipodal wide jaw", "antipodal", images.holed(images.noisy(large.depth, 3), 3), wide),
    ]  # fmt: skip


def _dense() -> list[Recorded]:
    large, pile, leaning = clutter(4, LARGE), clutter(5), clutter(6, LEANING)
    example, told = _example()
    mask = {"depth": images.noisy(pile.depth, 5), "segmask": ((pile.shows > 0) & (pile.shows < 6)).astype(np.uint8) * 255}
    tenths = images.noisy(pile.depth, 7) * 10  # of a millimetre: the unit is the request's to tell
    narrow = pile.known(gripper=NARROW_JAW, n_grasps=100, depth_scale=0.0001)
    return [
        raw("dense raw uint16", "dense", images.millimetres(images.noisy(large.depth, 4)), large.known(n_grasps=30)),
        raw("dense leaning", "dense", images.holed(images.noisy(leaning.depth, 6, 0.0005), 6), leaning.known()),
        form("dense example", "dense", {"depth": example}, {**told, "min_quality": 0.5}),
        raw("dense narrow jaw", "dense", images.millimetres(tenths), narrow),
        form("dense segmask", "dense", mask, pile.camera_only(region=[60, 40, 260, 200]), npys=["depth"]),
        raw("dense failed, no camera", "dense", pile.depth, {"failed": [pile.failed(2), pile.failed(5, angle=-0.7)]}),
    ]


def _auto() -> list[Recorded]:
    pile, seen = clutter(8), few()
    empty = images.noisy(np.full((240, 320), images.CAMERA_HEIGHT, np.float32), 9)
    return [
        bare("auto depth", "dense", images.noisy(pile.depth, 8), pile.camera_only(n_grasps=3), kind="x-npy", ask="auto"),
        raw("auto cup", "suction_dense", images.millimetres(pile.depth), pile.known(gripper=CUP), ask="auto"),
        form("auto colour", "heatmap", {"rgb": seen.rgb}, seen.known(), ask="auto"),
        raw("auto empty table", "dense", empty, seen.known(), ask="auto"),
    ]


def _gqcnn() -> list[Recorded]:
    pile, leaning, small = clutter(10), clutter(11, LEANING), few(TINY)
    failed = pile.known(seed=2, failed=[pile.failed(4, quality=0.8)], region=[40, 30, 280, 210])
    return [
        raw("gqcnn raw uint16", "gqcnn", images.millimetres(images.noisy(few().depth, 10)), few().known(seed=1)),
        raw("gqcnn failed", "gqcnn", images.noisy(pile.depth, 11), failed),
        raw("fc_gqcnn raw float32", "fc_gqcnn", images.noisy(small.depth, 12), small.known(seed=3, n_grasps=20)),
        form("fc_gqcnn leaning", "fc_gqcnn", {"depth": images.millimetres(leaning.depth)}, leaning.camera_only(seed=4)),
    ]


def _heatmap() -> list[Recorded]:
    pile, large = clutter(13), few(LARGE)
    mask = (pile.shows != 2).astype(np.uint8)
    both = {"rgb": pile.rgb, "depth": images.noisy(pile.depth, 13), "segmask": mask}
    return [
        bare("heatmap colour alone", "heatmap", large.rgb, {"n_grasps": 4}, kind="png"),
        form("heatmap colour and table", "heatmap", {"rgb": pile.rgb}, pile.known(failed=[pile.failed(1)], seed=5)),
        form("heatmap with depth", "heatmap", both, pile.known(), npys=["depth", "rgb", "segmask"]),
    ]


def _suction() -> list[Recorded]:
    large, pile, leaning, thin = few(LARGE), clutter(14), clutter(15, LEANING), slab()
    failed = {"depth": images.millimetres(pile.depth), "segmask": (pile.shows > 0).astype(np.uint8)}
    told = pile.known(gripper=SMALL_CUP, failed=[pile.failed(1), pile.failed(6, quality=0.5)], min_quality=0.05)
    return [
        raw("suction raw uint16", "suction", images.millimetres(large.depth), large.known(gripper=SMALL_CUP, n_grasps=25)),
        raw("suction leaning", "suction", images.noisy(leaning.depth, 15), leaning.known(gripper=CUP)),
        raw("suction_dense raw float32", "suction_dense", images.holed(pile.depth, 14), pile.camera_only(gripper=SMALL_CUP)),
        form("suction_dense failed", "suction_dense", failed, told),
        raw("suction_dense thin slab", "suction_dense", images.noisy(thin.depth, 16, 0.0003), thin.known(gripper=SMALL_CUP)),
        raw("suction_gqcnn", "suction_gqcnn", images.noisy(large.depth, 17), large.known(gripper=CUP, seed=6)),
    ]


def _both_hands() -> list[Recorded]:
    pile, leaning = clutter(18), clutter(19, LEANING)
    parts = {
        "depth_0": npy(images.noisy(pile.depth, 18)),
        "depth_1": npy(leaning.depth),
        "depth_2": npy(images.millimetres(pile.depth)),
        "depth_3": b"no image",
    }
    options: dict[str, Any] = {
        "request": pile.known(planner="antipodal"),
        "request_1": leaning.known(planner="dense"),
        "request_2": pile.known(planner="suction", gripper=CUP),
    }
    files: dict[str, Any] = {name: (name, data, "application/x-npy") for name, data in parts.items()}
    files |= {name: (None, json.dumps(told), "application/json") for name, told in options.items()}
    failed = leaning.known(gripper={**WIDE_JAW, "cup_radius": 0.01}, failed=[leaning.failed(2)], n_grasps=40)
    return [
        raw("ensemble", "ensemble", images.millimetres(images.noisy(few().depth, 22)), few().known()),
        raw("ensemble failed", "ensemble", images.noisy(leaning.depth, 19), failed),
        Recorded("batch, one of four unreadable", "antipodal, dense, suction", "/predict_grasp/batch", *multipart(files)),
    ]


def _other_endpoints() -> list[Recorded]:
    pile, small = clutter(20), few(TINY)
    depth = images.noisy(pile.depth, 20)
    maps = form("heatmap endpoint, numbers", "dense", {"depth": images.millimetres(depth)}, pile.known(), path="/heatmap")
    drawn = form("heatmap endpoint, picture", "antipodal", {"depth": depth}, pile.known(), path="/heatmap", npys=["depth"])
    drawn.headers["Accept"] = "image/png"
    colour = form("heatmap endpoint, colour", "heatmap", {"rgb": pile.rgb}, pile.known(), path="/heatmap")
    grasps = [{**pile.failed(number), "angle": 0.4 * number, "depth": 0.67} for number in range(1, 7)]
    on_image = pile.camera_only(grasps=grasps)
    crops = np.random.default_rng(21).normal(0.6, 0.01, (20, 96, 96, 1)).astype(np.float32)
    files = {"crops": ("crops", npy(crops), "application/x-npy")}
    files["gripper_depth"] = ("gripper_depth", npy(np.linspace(0.55, 0.65, 20, dtype=np.float32)), "application/x-npy")
    return [
        maps,
        drawn,
        colour,
        form("gqcnn grasps on an image", "gqcnn", {"depth": images.millimetres(depth)}, on_image, path="/gqcnn"),
        Recorded("gqcnn crops", "gqcnn", "/gqcnn", *multipart(files)),
        _process(pile),
        _v2_binary(pile, depth),
        _v2_json(small),
    ]


def _process(view: View) -> Recorded:
    data = base64.b64encode(view.depth.tobytes()).decode()
    payload = {"shape": [*view.depth.shape, 1], "dtype": "float32", "data": data}
    path = f"/process?request={quote(json.dumps(view.camera_only()))}"
    return Recorded("process", "dense", path, json.dumps(payload).encode(), {"Content-Type": "application/json"})


def _v2_binary(view: View, depth: np.ndarray) -> Recorded:
    """Integer depth as bytes after the JSON, and the outputs as bytes, too."""
    pixels = images.millimetres(depth)
    depth_input = {"name": "depth", "shape": [1, *pixels.shape], "datatype": "UINT16"}
    asked = {
        "id": "recorded",
        "parameters": {"binary_data_output": True, "request": json.dumps(view.known(n_grasps=15))},
        "inputs": [{**depth_input, "parameters": {"binary_data_size": pixels.nbytes}}],
    }
    head = json.dumps(asked).encode()
    headers = {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(len(head))}
    return Recorded("v2 binary uint16", "dense", "/v2/models/dense/infer", head + pixels.tobytes(), headers)


def _v2_json(view: View) -> Recorded:
    """A small float image and a mask as numbers."""
    mask = (view.shows > 0).astype(int)
    inputs = [
        {"name": "depth", "shape": list(view.depth.shape), "datatype": "FP32", "data": view.depth.reshape(-1).tolist()},
        {"name": "segmask", "shape": list(mask.shape), "datatype": "UINT8", "data": mask.reshape(-1).tolist()},
    ]
    asked = {"id": "recorded", "parameters": {"request": json.dumps(view.known())}, "inputs": inputs}
    headers = {"Content-Type": "application/json"}
    return Recorded("v2 numbers", "antipodal", "/v2/models/antipodal/infer", json.dumps(asked).encode(), headers)
