"""The attacks: `python -m benchmarks.hostile.attacks NAME PORT` says "ready", and attacks from a line of input to its end.

A process of its own, and one that leaves the processor to others: what the attacker itself costs is not what is measured.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import resource
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import uvloop
from PIL import Image

from benchmarks.serving.load import LOOPBACK, Connection, post
from benchmarks.serving.parts import CAMERA, scene

NICENESS = 15
LARGE = (3456, 4608)
FORM = {"Content-Type": "multipart/form-data; boundary=BOUND"}
_PART = b'--BOUND\r\nContent-Disposition: form-data; name="%s"; filename="x"\r\n\r\n%s\r\n'


def form(**parts: bytes) -> bytes:
    return b"".join(_PART % (name.encode(), data) for name, data in parts.items()) + b"--BOUND--\r\n"


def png(image: np.ndarray) -> bytes:
    """A 16-bit PNG, compressed as little as PNG allows."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def keys(count: int) -> str:
    return json.dumps({f"k{number}": 0 for number in range(count)})


def raw(size: tuple[int, int], options: str) -> bytes:
    """Raw depth with options as they are."""
    headers = {"Content-Type": "application/octet-stream", "X-Shape": f"{size[0]},{size[1]}", "X-Dtype": "uint16"}
    return post("/predict_grasp", scene(size).tobytes(), {**headers, "X-Request": options})


def padded_bodies() -> list[bytes]:
    """Tensors behind, or beside, 30 MiB of blanks."""
    depth = scene().tobytes()
    inputs = {"name": "depth", "datatype": "UINT16", "shape": [480, 640], "parameters": {"binary_data_size": len(depth)}}
    options = {"request": json.dumps({"camera": CAMERA})}
    sent = []
    for blanks in (0, 30 * 2**20):
        document = json.dumps({"inputs": [inputs], "parameters": options}).encode() + b" " * blanks
        headers = {"Inference-Header-Content-Length": str(len(document))}
        sent.append(post("/v2/models/antipodal/infer", document + depth, headers))
    image = png(scene())
    sent.append(post("/predict_grasp", b" " * 2**20 + b"\r\n" + form(depth=image, request=b" " * 60_000 + b"{}"), FORM))
    return sent


def wrong_options() -> list[bytes]:
    """Thousands of fields that do not exist."""
    image = png(scene((120, 160)))
    return [raw((120, 160), keys(4000))] + [
        post("/predict_grasp", form(depth=image, request=keys(count).encode()), FORM) for count in (5000, 200_000)
    ]


def nested_lists() -> list[bytes]:
    """Millions of empty lists where numbers are expected."""
    sent = []
    for size in (7, 60):
        data = "[" + "[]," * (size * 2**20 // 3) + "[]]"
        inputs = f'{{"inputs":[{{"name":"depth","datatype":"FP32","shape":[480,640],"data":{data}}}]}}'
        sent.append(post("/v2/models/antipodal/infer", inputs.encode(), {"Content-Type": "application/json"}))
        sent.append(post("/process", f'{{"shape":{data},"data":""}}'.encode(), {"Content-Type": "application/json"}))
    return sent


def many_scans() -> list[bytes]:
    """Progressive JPEGs of 16 megapixels whose last scan is repeated, and a PNG of a million chunks."""
    stream = io.BytesIO()
    Image.new("RGB", LARGE[::-1], (90, 90, 90)).save(stream, "JPEG", progressive=True, quality=50)
    data = stream.getvalue()
    last = data[data.rfind(b"\xff\xda") : -2]
    bodies = [data[:-2] + last * count + data[-2:] for count in (10_000, 80)]
    small = png(scene((120, 160)))
    empty = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    chunks = small[:33] + empty * 1_000_000 + small[33:]
    return [post("/predict_grasp", body, {"Content-Type": "image/jpeg"}) for body in bodies] + [
        post("/predict_grasp", chunks, {"Content-Type": "image/png"})
    ]


def slow_planners() -> list[bytes]:
    """Honest requests for the planners that take longest, with and without camera."""
    sent = []
    for planner in ("fc_gqcnn", "gqcnn"):
        sent.append(raw((120, 160), json.dumps({"planner": planner})))
        sent.append(raw((480, 640), json.dumps({"planner": planner, "camera": CAMERA, "table_depth": 0.7})))
    return sent


def large_images() -> list[bytes]:
    """PNGs of 16 megapixels."""
    return [post("/predict_grasp", png(scene(LARGE)), {"Content-Type": "image/png"})]


ATTACKS: dict[str, tuple[int, Callable[[], list[bytes]]]] = {
    "padded_bodies": (4, padded_bodies),
    "wrong_options": (4, wrong_options),
    "nested_lists": (4, nested_lists),
    "many_scans": (8, many_scans),
    "slow_planners": (8, slow_planners),
    "large_images": (24, large_images),
}
"""How many send at once, each the next as soon as it has its answer, and what they send."""
HALF_DEAD = "half_dead"
NAMES = (HALF_DEAD, *ATTACKS)
HALF_DEAD_CONNECTIONS = 4096
EARLY = post("/nothing", b"", {})[:-2].replace(b"Content-Length: 0", b"Content-Length: 1000") + b"\r\n"
"""A request whose body never comes, answered before it would."""


async def repeat(port: int, requests: list[bytes], offset: int, statuses: Counter[str]) -> None:
    """Send the requests in turn for ever."""
    connection = Connection(port)
    while True:
        try:
            status, _ = await connection.send(requests[offset % len(requests)])
            statuses[str(status)] += 1
        except (OSError, asyncio.IncompleteReadError):
            statuses["closed"] += 1
            await asyncio.sleep(0.01)
        offset += 1


async def half_dead(port: int, statuses: Counter[str]) -> None:
    """Read the reply, send one byte of the body, and stay."""
    kept = []
    while True:
        for _ in range(HALF_DEAD_CONNECTIONS):
            try:
                reader, writer = await asyncio.open_connection(LOOPBACK, port)
                writer.write(EARLY)
                status = (await reader.read(65536))[9:12].decode()
                writer.write(b"a")
                statuses[status or "closed"] += 1
                kept.append(writer)
            except OSError:
                statuses["closed"] += 1
                await asyncio.sleep(0.01)
        for writer in kept[:-HALF_DEAD_CONNECTIONS]:
            writer.close()
        del kept[:-HALF_DEAD_CONNECTIONS]


async def main(name: str, port: int) -> None:
    statuses: Counter[str] = Counter()
    if name == HALF_DEAD:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        works: Iterable[asyncio.Task[None]] = [asyncio.ensure_future(half_dead(port, statuses))]
        requests: list[bytes] = []
    else:
        clients, make = ATTACKS[name]
        requests = make()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    if name != HALF_DEAD:
        works = [asyncio.ensure_future(repeat(port, requests, number, statuses)) for number in range(clients)]
    await asyncio.to_thread(sys.stdin.read)
    for work in works:
        work.cancel()
    print(json.dumps(statuses), flush=True)


if __name__ == "__main__":
    os.nice(NICENESS)
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
