"""The containers, driven as a user drives them: built, scaled, looked into, taken down and brought up again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import httpx
import numpy as np
import pytest
import trimesh
from docker.errors import DockerException
from docker.models.containers import Container
from places import ROOT

from grasp_client import GraspClient
from services.queue import ReservedPort

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1500)]
WORKERS = 4
ADMIN_KEY = "of-the-operator"
COUNT_STORED = """
from pathlib import Path
from shared.shards import ShardReader, shard_folders
ids = [name for folder in shard_folders(Path("/data/shards")) for name in ShardReader(folder).ids()]
print(len(ids), len(set(ids)))
"""
COUNT_OWN = """
from pathlib import Path
from shared.shards import ShardReader, shard_folders
metas = [row.meta for folder in shard_folders(Path("/data/shards")) for row in ShardReader(folder).rows]
own = [each for each in metas if each["gripper"]["cup_radius"] == 0.011 and each["scene"]]
print(sum({*each["scene"]["objects"]} == {"folder/cube"} for each in own))
"""


@pytest.fixture(scope="module")
def engine() -> docker.DockerClient:
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    if not shutil.which("docker"):
        pytest.skip("the docker command line with its compose plugin is not installed")
    return client


class Stack:
    """One compose project of the test's own."""

    def __init__(self, engine: docker.DockerClient):
        port = ReservedPort()
        port.release()  # the engine binds it in a way of its own
        prometheus = ReservedPort()
        prometheus.release()
        self.engine, self.name, self.port = engine, f"grasploop-test-{os.getpid()}", port.number
        self.prometheus = f"http://127.0.0.1:{prometheus.number}"
        self.variables = {"PORT": str(self.port), "PROMETHEUS_PORT": str(prometheus.number), "OUTCOMES_PER_ROUND": "60"}
        self.url = f"http://127.0.0.1:{self.port}"

    def compose(self, *arguments: str) -> None:
        variables = {**self.variables, "ADMIN_KEY": ADMIN_KEY, "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
        file = str(ROOT / "docker-compose.yml")
        command = ["docker", "compose", "-p", self.name, "-f", file, "--profile", "monitoring", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}\n{self.story()}"

    def containers(self, service: str | None = None) -> list[Container]:
        labels = [f"com.docker.compose.project={self.name}"]
        labels += [f"com.docker.compose.service={service}"] if service else []
        return self.engine.containers.list(all=True, filters={"label": labels})

    def restarts(self) -> dict[str, int]:
        """Containers whose process ended and was started again, and how often."""
        counts = {container.name: container.attrs["RestartCount"] for container in self.containers()}
        return {name: count for name, count in counts.items() if count}

    def inside(self, service: str, *command: str) -> tuple[int, str]:
        status, output = self.containers(service)[0].exec_run(list(command))
        return status, output.decode(errors="replace")

    def sent(self) -> dict[str, int]:
        """Outcomes that the queue has accepted, by worker."""
        _, text = self.inside("redis", "queue", "cli", "--json", "hgetall", "grasp:outcomes:sent")
        return {name: int(count) for name, count in json.loads(text).items()}

    def stored(self) -> tuple[int, int]:
        """Outcomes in the dataset, and distinct ids among them."""
        status, text = self.inside("trainer_job", "python", "-c", COUNT_STORED)
        assert status == 0, text
        total, distinct = text.split()
        return int(total), int(distinct)

    def versions(self) -> list[int]:
        models = {model["name"]: model for model in httpx.get(f"{self.url}/models", timeout=10).json()["models"]}
        return models["dense"]["versions"] if "dense" in models else []

    def wait_for(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{seconds} s passed without {what}\n{self.story()}"
            time.sleep(1)

    def story(self) -> str:
        logs = [(container.name, container.logs(tail=30).decode(errors="replace")) for container in self.containers()]
        return "\n".join(f"--- {name}\n{text}" for name, text in logs)


@pytest.fixture(scope="module")
def stack(engine: docker.DockerClient) -> Iterator[Stack]:
    stack = Stack(engine)
    try:
        stack.compose("up", "--detach", "--build", "--wait", "--scale", f"sim_worker={WORKERS}")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "30")


def test_images_hold_what_they_need_and_no_more(stack: Stack) -> None:
    for service in ("inference_server", "sim_worker", "trainer_job"):
        status, user = stack.inside(service, "id", "-u")
        assert (status, user.strip()) == (0, "10001")
    for service in ("inference_server", "trainer_job"):
        status, said = stack.inside(service, "python", "-c", "from shared.store import Store; Store('s3://bucket/loop')")
        assert status == 0, said
    assert stack.inside("sim_worker", "python", "-c", "import torch")[0] != 0
    assert stack.inside("trainer_job", "python", "-c", "import pybullet")[0] != 0
    assert stack.inside("inference_server", "touch", "/models/mark")[0] != 0
    assert stack.inside("trainer_job", "touch", "/models/.mark")[0] == 0


def test_the_host_sees_ports_on_loopback_alone(stack: Stack) -> None:
    published = [
        binding["HostIp"]
        for container in stack.containers()
        for bindings in container.attrs["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    ]
    assert published == ["127.0.0.1"] * 2  # the API, and Prometheus of the profile


def test_the_queue_answers_services_alone_and_each_only_what_is_its_own(stack: Stack) -> None:
    ping = "import redis; redis.Redis('redis').ping()"
    for service in ("inference_server", "sim_worker", "trainer_job"):
        status, said = stack.inside(service, "python", "-c", ping)
        assert status != 0
        assert "AuthenticationError" in said
        status, url = stack.inside(service, "cat", "/run/queue/redis_url")
        assert url.startswith(f"redis://{service}:")
        assert url not in stack.story()
    push = "import redis; redis.Redis.from_url(open('/run/queue/redis_url').read()).rpush('grasp:registry', '')"
    assert "NoPermissionError" in stack.inside("sim_worker", "python", "-c", push)[1]


def test_a_depth_image_gets_grasps(stack: Stack) -> None:
    depth = np.full((240, 320), 0.7, np.float32)
    depth[92:148, 151:170] = 0.65
    with GraspClient(stack.url) as client:
        plan = client.predict_grasp(depth=depth, camera={"fx": 300.0, "fy": 300.0, "cx": 160.0, "cy": 120.0})
    assert plan.grasps


def test_every_alert_and_panel_finds_series(stack: Stack) -> None:
    """What rules compare is asked without the comparison: a rule whose series is missing would never fire."""
    rules = httpx.get(f"{stack.prometheus}/api/v1/rules").json()["data"]["groups"]
    assert sum(len(group["rules"]) for group in rules) == 13
    assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}
    compared = [re.sub(r" [<>] [0-9.]+$", "", rule["query"]) for group in rules for rule in group["rules"]]
    dashboard = json.loads((ROOT / "services" / "monitoring" / "grafana" / "grasploop.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]

    def empty() -> list[str]:
        asked = (
            (query, httpx.get(f"{stack.prometheus}/api/v1/query", params={"query": query}).json()) for query in compared + shown
        )
        return [query for query, answer in asked if not answer.get("data", {}).get("result")]

    stack.wait_for(lambda: not empty(), 120, "series for every query")
    assert httpx.get(f"{stack.prometheus}/api/v1/query", params={"query": "max(grasp_loop_trainers)"}).json()["data"]["result"]


def test_the_admin_key_promotes(stack: Stack) -> None:
    url = f"{stack.url}/models/dense/promote?version=1"
    assert httpx.post(url).status_code == 401
    promoted = httpx.post(url, headers={"X-API-Key": ADMIN_KEY}, timeout=30)
    assert promoted.status_code == 200, promoted.text


def test_four_workers_send_a_version_rises_and_a_restart_goes_on(stack: Stack) -> None:
    stack.wait_for(lambda: len(stack.sent()) >= WORKERS, 300, f"outcomes of {WORKERS} workers")
    stack.wait_for(lambda: len(stack.versions()) >= 2, 600, "a second version")
    assert stack.restarts() == {}, stack.story()
    before, versions = sum(stack.sent().values()), stack.versions()
    stack.compose("down", "--timeout", "30")
    assert stack.containers() == []
    stack.compose("up", "--detach", "--wait", "--scale", f"sim_worker={WORKERS}")
    assert stack.versions()[: len(versions)] == versions
    stack.wait_for(lambda: len(stack.sent()) >= 2 * WORKERS, 300, f"outcomes of {WORKERS} new workers")
    stack.compose("up", "--detach", "--no-recreate", "--scale", "sim_worker=0")
    sent = sum(stack.sent().values())
    assert sent > before
    stack.wait_for(lambda: stack.stored()[0] >= sent, 120, f"{sent} stored outcomes")
    assert stack.stored() == (sent, sent)
    assert stack.restarts() == {}, stack.story()


def test_own_objects_are_grasped_with_a_suction_cup(stack: Stack) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trimesh.creation.box((0.05, 0.05, 0.03)).export(Path(folder) / "cube.stl")
        (Path(folder) / "cup.json").write_text(json.dumps({"kind": "suction", "cup_radius": 0.011}))
        os.chmod(folder, 0o755)  # workers are another user
        stack.variables |= {"OBJECTS_DIR": folder, "OBJECT_SET": "folder", "REPLAY_RATIO": "0", "GRIPPER": "/objects/cup.json"}
        # Afresh: workers with a cup refuse what an A/B test of a jaw's network still asks for, one by one.
        stack.compose("down", "--volumes")
        stack.compose("up", "--detach", "--wait")
        stack.wait_for(lambda: int(stack.inside("trainer_job", "python", "-c", COUNT_OWN)[1]) >= 3, 600, "grasps of the cube")
        assert stack.restarts() == {}, stack.story()
