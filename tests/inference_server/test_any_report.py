"""Well-typed reports and requests with any content: each gets an answer of the contract, and whatever is queued can be read."""

import gc
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from forked import Forked
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples
from scipy.stats import theilslopes
from serving import PNG, Running, publish_dense, raw_headers, serving
from serving import settings as server_settings
from waiting import PATIENCE, wait_until
from well_typed import some_fields

from grasp_client.contract import GraspMeta, OutcomeReport, PlanRequest
from grasp_client.observation import Observation
from inference_server.outcomes.recent_plans import RecentPlans
from shared.learnable import why_not_learnable
from shared.streams import OutcomeStream, connect

ALLOWED = {200, 202, 400, 404, 409, 413, 415, 422, 429, 503, 504}
DEPTH = np.full((24, 32), 0.7, np.float32)
DEPTH[8:14, 10:18] = 0.66
SMALL = {"fx": 60.0, "fy": 60.0, "cx": 15.5, "cy": 11.5}
MANY = int(os.environ.get("MANY_REPORTS", "3000"))
WARM = max(MANY // 10, 1500)
"""After so many a server has met all that makes it import, compile or keep something once."""
SAMPLED = 50
MOST_GROWN = 0.05
"""Of the server's memory. Requests that leave 20 kB each behind are found in 1,500, such that leave 1.5 kB in 18,000."""
KEYS = {"report": "r", "worker": "w"}
API_KEYS = ", ".join(f"{name}:{name}:{key}" for name, key in KEYS.items())


class Server:
    """What is sent to a server, and what it queues."""

    def __init__(self, client: httpx.Client, url: str) -> None:
        self.client, self.stream = client, OutcomeStream(connect(url))

    def post(self, path: str, key: str, **content: Any) -> httpx.Response:
        response = self.client.post(path, headers={"x-api-key": key, **content.pop("headers", {})}, **content)
        assert response.status_code in ALLOWED, f"{response.status_code}: {response.text[:500]}"
        assert "Traceback" not in response.text
        if response.status_code >= 400:
            assert response.json()["error"]["message"]
            assert len(response.content) < 2**15
        return response

    def plan(self, options: dict[str, Any]) -> httpx.Response:
        return self.post("/predict_grasp", "w", content=DEPTH.tobytes(), headers=raw_headers(DEPTH, options))

    def report(self, report: dict[str, Any], key: str, depth: bytes | None) -> httpx.Response:
        if depth is None:
            return self.post("/outcomes", key, json=report)
        return self.post("/outcomes", key, files={"depth": ("d.png", depth)}, data={"outcome": json.dumps(report)})

    def take_queued(self) -> int:
        """Reads what was queued; each must be readable, and teach something."""
        entries = self.stream.read("test", count=1000, block_ms=1)
        for entry in entries:
            assert entry.error is None
            [delivered] = entry.outcomes
            assert isinstance(delivered.outcome.meta, GraspMeta)
            assert why_not_learnable(delivered.outcome.meta.model_dump()) is None
            assert delivered.outcome.meta.source in KEYS
        self.stream.ack([entry.key for entry in entries])
        self.stream.trim()
        return len(entries)


class ServerHere(Server):
    """One in this process, into which one can look."""

    def __init__(self, running: Running, url: str) -> None:
        super().__init__(running.client, url)
        self.service, self.bodies = running.service, running.bodies
        self.service.planning.recent = RecentPlans(most_bytes=2**20)  # soon full
        self.threads = {thread.name for thread in threading.enumerate()}

    def check_alive(self) -> None:
        assert self.service.batcher.alive()
        assert len(self.service.batcher.queue) == 0
        assert self.bodies.in_memory.total() == 0
        missing = self.threads - {thread.name for thread in threading.enumerate()}
        assert not missing, f"threads have ended: {missing}"
        assert self.plan({"planner": "antipodal", "camera": SMALL}).status_code == 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, module_redis_url: str) -> Iterator[ServerHere]:
    models = tmp_path_factory.mktemp("models")
    publish_dense(models, 0)
    chosen = server_settings(models, redis_url=module_redis_url, api_keys=API_KEYS)
    with serving(chosen) as running:
        yield ServerHere(running, module_redis_url)


POSE = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.66], [0.0, 0.0, 0.0, 1.0]]
GRASP = {
    "kind": "parallel_jaw", "quality": 0.5, "center_px": [14.0, 11.0], "angle": 0.0, "depth": 0.66, "width": 0.06,
    "pose_camera": POSE,
}  # fmt: skip
FULL = {"grasp": GRASP, "planner": "antipodal", "camera": SMALL, "success": True}
IMAGES = st.sampled_from([None, PNG, PNG, PNG[:60]])


@st.composite
def reports(draw: st.DrawFn) -> dict[str, Any]:
    """A whole report, some of it replaced, mostly under an id of its own."""
    number = draw(st.integers(0, 10**9))
    return {**FULL, "id": f"cell:{number}", **draw(some_fields(OutcomeReport, 3))}


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    """Options of a planner that takes milliseconds, some of them replaced."""
    return {"camera": SMALL, **draw(some_fields(PlanRequest, 4)), "planner": draw(st.sampled_from(["antipodal", "dense"]))}


def check_report(server: Server, report: dict[str, Any], key: str, depth: bytes | None) -> None:
    answer = server.report(report, key, depth)
    if answer.status_code == 202:
        assert answer.json()["id"].startswith(f"{dict(map(reversed, KEYS.items()))[key]}:")
        assert report.get("scene") is None or key == "w"
        again = server.report(report, key, depth)
        assert again.json() == answer.json(), "a retry"
    elif answer.status_code == 422 and answer.json()["error"]["code"] == "not_learnable":
        assert answer.json()["error"]["detail"]["learnable"] is False


@examples(20)
@given(report=reports(), key=st.sampled_from(sorted(KEYS.values())), depth=IMAGES)
def test_any_report(server: Server, report: dict[str, Any], key: str, depth: bytes | None) -> None:
    check_report(server, report, key, depth)
    server.take_queued()


@examples(20)
@given(said=some_fields(OutcomeReport, 3), rank=st.integers(0, 3))
def test_any_report_on_a_plan(server: Server, said: dict[str, Any], rank: int) -> None:
    plan = server.plan({"planner": "antipodal", "camera": SMALL, "n_grasps": 4}).json()
    report = {"success": True, **said, "request_id": plan["request_id"], "rank": rank, "id": None}
    check_report(server, report, "w", None)
    server.take_queued()


@examples(20)
@given(chosen=options())
def test_any_options(server: Server, chosen: dict[str, Any]) -> None:
    answer = server.plan(chosen)
    if answer.status_code == 200:
        for grasp in answer.json()["grasps"]:
            assert all(np.isfinite(value) for value in [grasp["quality"], grasp["angle"], *grasp["center_px"]])


def test_what_was_refused_is_forgotten(server: ServerHere) -> None:
    """pydantic's errors hold the frames of those who asked where the garbage collector does not look."""

    def kept() -> int:
        gc.collect()
        return sum(type(each) is Observation for each in gc.get_objects())

    refused = {**FULL, "failure": "slipped"}, {**FULL, "id": "of one key:1", "camera": {"K": [[1, 0, 0], [0, 1, 0], [0, 0, 2]]}}
    before = kept()
    for report in [*refused] * 3:
        assert server.report(report, KEYS["report"], PNG).status_code == 422
    for _ in range(3):
        assert server.plan({"camera": {**SMALL, "distortion": [0.0] * 3}}).status_code == 422
    assert kept() <= before + 1


def test_the_server_is_as_it_was(server: ServerHere) -> None:
    server.check_alive()


@pytest.fixture
def apart(tmp_path: Path, redis_url: str) -> Iterator[tuple[Server, Forked]]:
    """A server in a process of its own, in which no test leaves anything."""
    publish_dense(tmp_path / "models", 0)
    options = {"port": "0", "models-dir": str(tmp_path / "models"), "redis-url": redis_url, "api-keys": API_KEYS}
    patient = {"refusals-per-second": "1e6", "deadline-ms": f"{PATIENCE * 1e3:.0f}", "log-format": "json"}
    log = tmp_path / "server.log"
    arguments = [word for name, value in {**options, **patient}.items() for word in (f"--{name}", value)]
    process = Forked("lean_server", arguments, log, tmp_path)

    def address() -> re.Match[str] | None:
        return re.search(r"http://127\.0\.0\.1:\d+", log.read_text()) if log.exists() else None

    try:
        wait_until(lambda: address() or process.poll() is not None, lambda: log.read_text()[-3000:])
        found = address()
        assert found, log.read_text()
        with httpx.Client(base_url=found.group(), timeout=PATIENCE) as client:
            wait_until(lambda: client.get("/ready").status_code == 200)
            yield Server(client, redis_url), process
    finally:
        process.kill()
        process.wait()


def figure(process: Forked, name: str) -> int:
    """Of /proc/PID/status: VmRSS in KiB, Threads."""
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_thousand_reports_and_requests(apart: tuple[Server, Forked]) -> None:
    """Also that the server's memory does not go on to grow after the first of them.

    One large request may leave it higher than it was, all of them may not: looked at is the growth (by the slope of Theil and
    Sen) in that third of them in which it grew least.
    """
    server, process = apart
    counts, memory = {"answers": 0, "queued": 0}, list[int]()

    def batch(count: int) -> None:
        @settings(max_examples=count, derandomize=False, database=None)
        @given(asked=st.one_of(options(), reports()), key=st.sampled_from(sorted(KEYS.values())), depth=IMAGES)
        def send(asked: dict[str, Any], key: str, depth: bytes | None) -> None:
            if "success" in asked:
                check_report(server, asked, key, depth)
            else:
                server.plan(asked)
            counts["answers"] += 1
            if counts["answers"] % 100 == 0:
                counts["queued"] += server.take_queued()
            if counts["answers"] % SAMPLED == 0:
                memory.append(figure(process, "VmRSS"))

        send()

    for _ in range(0, WARM, 500):
        batch(500)
    threads = figure(process, "Threads")
    memory.clear()
    for _ in range(WARM, MANY, 500):
        batch(500)
    grown = min(theilslopes(third).slope for third in np.array_split(memory, 3)) * len(memory) / memory[0]
    print(f"{counts}; after {WARM} from {memory[0] / 2**10:.0f} to {memory[-1] / 2**10:.0f} MiB, {grown:+.1%}")
    assert process.poll() is None
    assert figure(process, "Threads") >= threads
    assert server.client.get("/ready").status_code == 200
    assert server.plan({"planner": "antipodal", "camera": SMALL}).status_code == 200
    assert counts["queued"] > 0
    assert grown < MOST_GROWN
