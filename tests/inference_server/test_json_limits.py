"""JSON is bounded by what it is for, and numbers in it are read without an object for each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from serving import CAMERA, DEPTH, OPTIONS, PNG, Running

from grasp_client.imaging import ImageLimits
from inference_server import admission
from inference_server.decoding import multipart, observations, tensors
from inference_server.decoding.json_limits import JSON_BYTES, more_than
from inference_server.errors import ServerError

INFER = "/v2/models/antipodal/infer"


def refused(response: Any) -> tuple[int, str]:
    assert len(response.content) < 10_000, "an error is short, whatever was sent"
    return response.status_code, response.json()["error"]["code"]


def infer(server: Running, data: str, shape: tuple[int, ...] = DEPTH.shape, datatype: str = "FP32", name: str = "depth") -> Any:
    inputs = f'{{"name": "{name}", "shape": {list(shape)}, "datatype": "{datatype}", "data": {data}}}'
    options = json.dumps(json.dumps(OPTIONS))
    body = f'{{"inputs": [{inputs}], "parameters": {{"request": {options}}}}}'
    return server.client.post(INFER, content=body, headers={"content-type": "application/json"})


@pytest.mark.parametrize(
    "options",
    [
        {f"k{number}": 0 for number in range(1500)},
        {"gripper": {f"k{number}": 0 for number in range(1500)}},
        {"failed": [{"center_px": ["x", "y"]}] * 1000},
        {"a" * 50_000: 0},
    ],
    ids=["keys", "deeper keys", "items", "one long key"],
)
def test_the_first_wrong_fields_are_named_and_no_more(server: Running, options: dict[str, Any]) -> None:
    response = server.form(options, depth=PNG)
    assert refused(response) == (422, "invalid_field")
    assert len(response.json()["error"]["detail"]) <= 10


def test_options_have_a_size(server: Running) -> None:
    too_long = {**OPTIONS, "planner": "x" * observations.OPTIONS_BYTES}
    too_many = {f"k{number}": 0 for number in range(5000)}
    for path in ("/predict_grasp", "/heatmap"):
        assert refused(server.form(too_many, path, depth=PNG)) == (413, "json_too_large")
        assert refused(server.form(too_long, path, depth=PNG)) == (413, "json_too_large")
    grasps = [{"center_px": [160.123456789012, 120.123456789012], "angle": 0.123456789012345, "depth": 0.65}] * 1000
    text = json.dumps({"camera": CAMERA, "grasps": grasps})
    assert len(text) > observations.OPTIONS_BYTES
    response = server.form({"camera": CAMERA, "grasps": grasps}, "/gqcnn", depth=PNG)
    assert response.json()["error"]["code"] == "unknown_model", "they are read: it is the model that is missing here"


def test_long_options_are_read_in_the_decoding_threads(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    decode = server.service.decoders.decode

    async def spy(*arguments: Any) -> Any:
        asked.append(arguments)
        return await decode(*arguments)

    monkeypatch.setattr(server.service.decoders, "decode", spy)
    assert server.raw().status_code == 200
    assert not asked
    long = json.dumps(OPTIONS) + " " * observations.QUICK_OPTIONS
    assert server.raw(**{"x-request": "{" + " " * observations.QUICK_OPTIONS + long.strip()[1:]}).status_code == 200
    assert len(asked) == 1


@pytest.mark.parametrize("data", [DEPTH.tolist(), DEPTH.reshape(-1).tolist(), DEPTH[..., None].tolist()])
def test_numbers_may_be_nested_or_flat(server: Running, data: list[Any]) -> None:
    shape = np.asarray(data).shape if np.ndim(data) != 1 else DEPTH.shape
    reply = infer(server, json.dumps(data, indent=1), shape[:2]).json()
    binary = server.raw().json()["grasps"]
    assert reply["outputs"][0]["data"] == pytest.approx([grasp["quality"] for grasp in binary])


def test_a_mask_may_be_said_in_words(server: Running) -> None:
    mask = np.ones(DEPTH.shape, bool).tolist()
    inputs = [
        {"name": "depth", "shape": DEPTH.shape, "datatype": "FP32", "data": DEPTH.tolist()},
        {"name": "segmask", "shape": DEPTH.shape, "datatype": "BOOL", "data": mask},
    ]
    response = server.client.post(INFER, json={"inputs": inputs, "parameters": {"request": OPTIONS}})
    assert response.status_code == 200
    assert response.json()["outputs"][0]["shape"][0] > 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ("[[],[],[]]", 422),
        ("[1, 2, 3]", 422),
        ('[1, "2", 3]', 422),
        ("[1, {}, 3]", 422),
        ("[1,,2]", 422),
        ("[1e, 2]", 422),
        ("7", 422),
        ('"[1, 2]"', 422),
        ("[" * 100_000 + "]" * 100_000, 422),
        ("[" + "[]," * 1_000_000 + "[]]", 422),
        ("[" + "0," * (JSON_BYTES // 2) + "0]", 413),
        ("[1]" + " " * 100_000, 413),
    ],
    ids=lambda each: str(each)[:12],
)
def test_other_data_is_refused(server: Running, data: str, status: int) -> None:
    response = infer(server, data)
    assert refused(response)[0] == status


def test_many_lists_of_data_are_refused(server: Running) -> None:
    body = '{"inputs": [' + ",".join(['{"data":[1]}'] * 100_000) + "]}"
    assert refused(server.client.post(INFER, content=body))[0] == 422


def test_blanks_around_tensors_are_refused(server: Running) -> None:
    head = json.dumps({"inputs": []}) + " " * 30_000_000
    headers = {"inference-header-content-length": str(len(head))}
    assert refused(server.client.post(INFER, content=head, headers=headers)) == (413, "json_too_large")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"shape": [2, 2], "data": "' + "A" * JSON_BYTES + '"}', (413, "json_too_large")),
        ('{"shape": [' + "1," * 1_000_000 + '1], "data": ""}', (422, "invalid_field")),
        ('{"shape": [' + "[]," * 1_000_000 + '1], "data": ""}', (422, "invalid_field")),
    ],
    ids=["long", "wide", "deep"],
)
def test_the_compatible_payload_is_small(server: Running, body: str, expected: tuple[int, str]) -> None:
    assert refused(server.client.post("/process", content=body)) == expected


def test_parts_full_of_boundaries_are_refused(server: Running) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="depth"\r\n\r\n' + b"\r\n--BX" * 200_000 + b"\r\n--B--\r\n"
    response = server.client.post("/predict_grasp", content=body, headers={"content-type": "multipart/form-data; boundary=B"})
    assert refused(response) == (413, "too_many_parts")


def cpu(call: Callable[[], Any]) -> float:
    """Least seconds of this thread's CPU that a call takes, of five."""

    def once() -> float:
        started = time.thread_time()
        call()
        return time.thread_time() - started

    return min(once() for _ in range(5))


def refusal_cost(call: Callable[[], Any]) -> float:
    def refused_once() -> None:
        with pytest.raises(ServerError):
            call()

    return cpu(refused_once)


def test_empty_lists_cost_no_more_than_to_find_where_they_end() -> None:
    """The interpreter is held while a body is looked through: no other thread plans or answers meanwhile."""
    lists = b"[" + b"[]," * (7 * 2**20 // 3) + b"[]]"
    body = b'{"inputs":[{"name":"depth","datatype":"FP32","shape":[480,640],"data":' + lists + b"}]}"
    once_through = cpu(lambda: body.translate(None, b"[] \t\r\n"))
    assert refusal_cost(lambda: tensors.read(body, None, ImageLimits())) < 2 * once_through  # it took eight of them


def test_marks_are_counted_no_farther_than_they_may_go() -> None:
    text = b"[]," * 2**20
    assert cpu(lambda: more_than(100, text, b",", b"[")) < 0.1 * cpu(lambda: text.count(b"["))
    assert more_than(100, b" " * 2**20 + b"," * 101, b",")
    assert not more_than(101, b"," * 50 + b" " * 2**20 + b"[" * 51, b",", b"[")


@pytest.mark.parametrize("size", [7, 8, 9, 10, 11, 12, 13, 50])
def test_parts_are_the_same_in_whatever_pieces_a_body_is_read(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"depth": bytes(range(256)), "rgb": b"\r\n--BOUN\r\n--", "request": b"{}"}
    head = b'--BOUND\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = b"".join(head % (name.encode(), data) for name, data in parts.items()) + b"--BOUND--\r\n"
    monkeypatch.setattr(multipart, "PIECE_BYTES", size)
    read = multipart.parts_of(body, "multipart/form-data; boundary=BOUND")
    assert {name: part.data for name, part in read.items()} == parts


def test_large_bodies_are_joined_beside_the_event_loop(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    aside: list[int] = []
    to_thread = asyncio.to_thread

    async def spy(function: Callable[..., Any], *arguments: Any) -> Any:
        result = await to_thread(function, *arguments)
        aside.append(len(result))
        return result

    monkeypatch.setattr(asyncio, "to_thread", spy)
    for size in (2**20, 2 * admission.LARGE_BYTES):
        pieces = (b"0" * 2**19 for _ in range(size // 2**19))
        server.client.post("/predict_grasp", content=pieces, headers={"content-type": "image/png"})
    assert aside == [2 * admission.LARGE_BYTES]
