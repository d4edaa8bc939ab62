"""Random and damaged requests: every one gets an answer of the contract, never a 500, and the server lives on."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from properties import examples
from serving import NPY, PNG, RGB_PNG, Running

from grasp_client.imaging import encode_npy, encode_png_depth
from inference_server.outcomes.recent_plans import RecentPlans

ALLOWED = {200, 400, 404, 413, 415, 422, 429, 503, 504}
MANY = examples(100)


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((24, 32, 3), 90, np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


SEEDS = [PNG, NPY, RGB_PNG, jpeg(), encode_npy(np.full((24, 32), 0.6)), encode_png_depth(np.full((9, 7), 0.5, np.float32))]
FORM = "multipart/form-data; boundary=b"
TYPES = ["image/png", "image/jpeg", "application/x-npy", "application/octet-stream", FORM, "text/plain", ""]

sides = st.integers(1, 48)
numbers = st.one_of(st.floats(width=32), st.floats(0.25, 2, width=32), st.just(0.0))
centres = st.one_of(st.floats(-50, 50), st.floats(-1e5, 1e5))
positive = st.floats(0.5, 1e6)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An image file with bytes changed, cut out, repeated or added."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 64)))
        data[at:end] = draw(st.one_of(st.binary(max_size=8), st.just(bytes(data[at:end] * 2))))
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])


@st.composite
def forms(draw: st.DrawFn) -> bytes:
    """A multipart body, in good or bad order."""
    body = b""
    for name in draw(st.lists(st.sampled_from(["depth", "rgb", "segmask", "goal", "request", "x"]), max_size=4)):
        content = draw(st.one_of(damaged(), st.binary(max_size=30), st.just(b"{}")))
        body += b'--b\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + content + b"\r\n"
    return body + draw(st.sampled_from([b"--b--\r\n", b"--b", b""]))


rotations = st.sampled_from([np.eye(4), np.diag([1.0, -1.0, -1.0, 1.0]), np.diag([-1.0, -1.0, 1.0, 1.0])])


GRIPPER: dict[str, st.SearchStrategy] = {
    "kind": st.sampled_from(["parallel_jaw", "suction"]),
    "max_width": st.floats(1e-4, 0.5),
    "finger_width": st.floats(1e-4, 0.2),
    "finger_depth": st.floats(1e-4, 0.5),
    "palm_width": st.floats(1e-4, 0.5),
    "tcp_offset": st.floats(-0.5, 0.5),
}


FAILED = st.fixed_dictionaries(
    {"center_px": st.tuples(centres, st.floats(-1e6, 1e6))},
    optional={"angle": st.floats(-10, 10), "depth": st.one_of(st.none(), st.floats(1e-3, 100)), "quality": st.floats(0, 1)},
)


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    """Options that are valid, at the edges of what is allowed, and some that are not."""
    pose = draw(rotations).copy()
    pose[:3, 3] = draw(st.tuples(*[st.floats(-5, 5)] * 3))
    choices: dict[str, st.SearchStrategy] = {
        "camera": st.fixed_dictionaries({"fx": positive, "fy": positive, "cx": centres, "cy": centres}),
        "camera_pose": st.just(pose.tolist()),
        "table_depth": st.floats(0.01, 100),
        "depth_scale": st.floats(1e-6, 1),
        "planner": st.sampled_from(["auto", "antipodal", "dense", "x"]),
        "gripper": st.fixed_dictionaries({}, optional=GRIPPER),
        "n_grasps": st.integers(1, 1000),
        "min_quality": st.floats(0, 1),
        "region": st.lists(st.floats(-100, 100), min_size=4, max_size=4),
        "model_version": st.integers(1, 2),
        "return_heatmap": st.booleans(),
        "failed": st.lists(FAILED, max_size=4),
        "seed": st.integers(0, 2**63 - 1),
    }
    names = draw(st.lists(st.sampled_from(sorted(choices)), unique=True, max_size=5))
    return {name: draw(choices[name]) for name in names}


@st.composite
def depths(draw: st.DrawFn) -> np.ndarray:
    """Small depth images: flat, stepped, noisy, with holes, and with numbers that are none."""
    height, width = draw(sides), draw(sides)
    image = np.full((height, width), draw(numbers), np.float32)
    for _ in range(draw(st.integers(0, 3))):
        v, u = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        image[v : v + draw(sides), u : u + draw(sides)] = draw(numbers)
    if draw(st.booleans()):
        image += np.random.default_rng(draw(st.integers(0, 99))).normal(0, 0.01, image.shape).astype(np.float32)
    return image


def check(response: httpx.Response) -> None:
    assert response.status_code in ALLOWED, f"{response.status_code}: {response.text[:500]}"
    assert "Traceback" not in response.text
    if response.status_code != 200:
        assert response.json()["error"]["message"]


@MANY
@given(
    data=st.one_of(damaged(), forms(), st.binary(max_size=100)),
    media_type=st.sampled_from(TYPES),
    shape=st.sampled_from(["24,32", "9,7", "a", "-1,1"]),
    dtype=st.sampled_from(["uint16", "float32", "f"]),
)
def test_damaged_bodies(server: Running, data: bytes, media_type: str, shape: str, dtype: str) -> None:
    headers = {"content-type": media_type, "x-shape": shape, "x-dtype": dtype}
    check(server.client.post("/predict_grasp", content=data, headers=headers))


@MANY
@given(depth=depths(), chosen=options())
def test_odd_depth_and_options(server: Running, depth: np.ndarray, chosen: dict) -> None:
    height, width = depth.shape
    headers = {"content-type": "application/octet-stream", "x-shape": f"{height},{width}", "x-dtype": "float32"}
    headers["x-request"] = json.dumps(chosen)
    check(server.client.post("/predict_grasp", content=depth.tobytes(), headers=headers))


def test_the_server_lives_on(server: Running) -> None:
    assert server.raw().status_code == 200
    assert len(server.service.batcher.queue) == 0
    assert server.bodies.in_memory.total() == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_damaged_bodies(server: Running) -> None:
    @settings(max_examples=10_000, derandomize=False)
    @given(data=st.one_of(damaged(), forms(), st.binary(max_size=100)), media_type=st.sampled_from(TYPES))
    def send(data: bytes, media_type: str) -> None:
        check(server.client.post("/predict_grasp", content=data, headers={"content-type": media_type}))

    send()


@pytest.mark.slow
def test_bad_bodies_leave_no_memory_behind(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    # Some damaged images can still be planned: the store of recent plans is soon full, and what is left must not grow.
    monkeypatch.setattr(server.service.planning, "recent", RecentPlans(most_bytes=2**18))
    memory = server.service.metrics.registry.get_sample_value

    def send(count: int, start: int) -> None:
        rng = np.random.default_rng(start)
        for _ in range(count):
            data = bytearray(SEEDS[rng.integers(len(SEEDS))])
            data[rng.integers(len(data))] ^= 0xFF
            cut = int(rng.integers(1, len(data)))
            check(
                server.client.post(
                    "/predict_grasp", content=bytes(data[:cut]), headers={"content-type": TYPES[rng.integers(3)]}
                )
            )

    send(1000, 0)
    before = memory("process_resident_memory_bytes") or 0
    send(10_000, 1)
    after = memory("process_resident_memory_bytes") or 0
    print(f"resident memory: {before / 2**20:.1f} MiB before 10,000 bad bodies, {after / 2**20:.1f} MiB after")
    assert after < before * 1.05 + 2**20
