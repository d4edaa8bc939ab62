"""The parts of the benchmark: each loads a running server in its own way and returns figures."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np

from benchmarks.serving.gpu_like import SIZE
from benchmarks.serving.load import Load, closed_loop, fleet, one_by_one, open_loop, post, run
from benchmarks.serving.servers import Server
from benchmarks.serving.watch import batch_histogram, cpu_seconds, queue_depth, series

CALM_CLIENTS = 4
TRICKLE_PER_SECOND = 5.0
TRICKLE_ADDRESS = "127.0.7.7"
DEADLINE_MS = 2000
CAMERA = {"fx": 525.0, "fy": 525.0, "cx": 319.5, "cy": 239.5}


def scene(size: tuple[int, int] = SIZE) -> np.ndarray:
    """A block 40 mm high on a table 0.7 m away, uint16 millimetres, with a sensor's noise."""
    rng = np.random.default_rng(0)
    depth = 700 + rng.normal(0, 1, size)
    v, u = size[0] // 2, size[1] // 2
    depth[v - size[0] // 12 : v + size[0] // 12, u - size[1] // 25 : u + size[1] // 25] -= 40
    return depth.astype("<u2")


def request(planner: str, size: tuple[int, int] = SIZE, **headers: str) -> bytes:
    """Raw depth over the fast path."""
    options = {"planner": planner, "camera": CAMERA, "table_depth": 0.7}
    raw = {"Content-Type": "application/octet-stream", "X-Shape": f"{size[0]},{size[1]}", "X-Dtype": "uint16"}
    return post("/predict_grasp", scene(size).tobytes(), {**raw, "X-Request": json.dumps(options), **headers})


def overhead(server: Server, planner: str, seconds: float) -> dict[str, Any]:
    """One client: its clock minus the time that the network or planner took, and the stages that the reply names. ms."""
    run(one_by_one(server.port, request(planner), seconds / 4))
    answers = run(one_by_one(server.port, request(planner), seconds))
    took = np.array([milliseconds for milliseconds, _ in answers])
    timings = [reply["timings_ms"] for _, reply in answers]
    plan = np.array([each["plan"] for each in timings])
    p50, p95 = np.percentile(took - plan, (50, 95)).tolist()
    stages = {name: float(np.median([each[name] for each in timings])) for name in timings[0]}
    return {"n": len(answers), "p50": p50, "p95": p95, "reply_p50": float(np.median(took)), "stages": stages}


def closed(server: Server, clients: int, seconds: float) -> dict[str, Any]:
    """A closed loop, with the batches it led to and what it cost."""
    return _measured(server, lambda: run(closed_loop(server.port, request("gpu_like"), clients, seconds)))


def opened(server: Server, rate: float, seconds: float) -> dict[str, Any]:
    """An open loop of `rate` requests per second."""
    return _measured(server, lambda: run(open_loop(server.port, request("gpu_like"), rate, seconds)))


def _measured(server: Server, load: Callable[[], Load]) -> dict[str, Any]:
    before, used = _look(server), cpu_seconds(server.process.pid)
    result = load()
    used = cpu_seconds(server.process.pid) - used
    answered = max(1, len(result.replies))
    row = {**result.everything(), "cpu_ms": 1e3 * used / answered, "cores": used / result.seconds}
    return row | ({"batches": batch_histogram(before, _look(server))} if before else {})


def flood(server: Server, planner: str, seconds: float, times: float) -> dict[str, Any]:
    """One address sends `times` as much as can be answered while another asks now and then; and the calm before and after."""
    deadline: dict[str, Any] = {"X-Deadline-Ms": str(DEADLINE_MS)}
    asking = request(planner, **deadline)
    before = run(closed_loop(server.port, asking, CALM_CLIENTS, seconds))
    capacity = run(closed_loop(server.port, asking, 4 * CALM_CLIENTS, seconds)).summary()["per_second"]

    async def both() -> tuple[Load, Load]:
        few = open_loop(server.port, asking, TRICKLE_PER_SECOND, seconds, TRICKLE_ADDRESS)
        return await asyncio.gather(open_loop(server.port, asking, times * capacity, seconds), few)

    with queue_depth(server.url) as depth:
        many, few = run(both())
    after = run(closed_loop(server.port, asking, CALM_CLIENTS, seconds))
    return {
        "capacity": capacity, "rate": times * capacity, "deadline_ms": DEADLINE_MS, "queue_most": depth.most,
        "accepted": many.summary(), "refused": many.summary(429), "statuses": dict(many.statuses()), "broken": many.broken,
        "trickle": few.everything(), "before": before.summary(), "after": after.summary(),
    }  # fmt: skip


def fleet_of(server: Server, size: tuple[int, int], clients: int, seconds: float) -> dict[str, Any]:
    """Clients with an address each, one request per second each: what is answered, and how evenly."""
    with queue_depth(server.url) as depth:
        row = {}

        def load() -> Load:
            result = run(fleet(server.port, request("gpu_like", size), clients, seconds))
            answered = Counter(reply.client for reply in result.replies if reply.status == 200)
            shares = np.array([answered[number] for number in range(clients)], float)
            row["fairness"] = float(shares.sum() ** 2 / (clients * (shares**2).sum())) if shares.any() else 0.0
            row["least"], row["mean"], row["most_of_one"] = float(shares.min()), float(shares.mean()), float(shares.max())
            return result

        row |= _measured(server, load)
    return {**row, "clients": clients, "image": f"{size[1]}x{size[0]}", "queue_most": depth.most}


def _look(server: Server) -> dict[str, float]:
    reply = httpx.get(f"{server.url}/metrics", timeout=10)
    return series(reply.text) if reply.status_code == 200 else {}
