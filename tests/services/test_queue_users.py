"""The queue of the containers: each service has a user of its own, who may do what that service does and no more."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from records import send
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry
from test_view import outcome
from waiting import wait_until

from grasp_client.contract import SceneRequest
from services.queue import ReservedPort, server_binary
from shared.registry import Registry
from shared.streams import TRAINERS, OutcomeStream, SceneRequestStream, WorkerStatusStore, connect
from trainer_job.promotion.registry_commands import COMMANDS, apply_commands

SCRIPT = Path(__file__).parents[2] / "services" / "docker" / "queue.sh"
SERVICES = ("inference_server", "sim_worker", "trainer_job")
Connect = Callable[[str], redis.Redis]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("queue")
    for name in ("data", "bin", *(f"access/{service}" for service in SERVICES)):
        (folder / name).mkdir(parents=True)
    (folder / "bin" / "redis-server").symlink_to(server_binary())
    return folder


class UsersQueue:
    """The queue as its container starts it, and connections to it with the URLs that lie in the services' volumes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.reserved = folder, ReservedPort()
        self.port = self.reserved.number
        where = {"QUEUE_DIR": str(folder / "data"), "ACCESS_DIR": str(folder / "access")}
        self.environment = {**os.environ, **where, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
        self.clients: list[redis.Redis] = []

    def start(self) -> None:
        command = ["sh", str(SCRIPT), "--port", str(self.port), "--bind", "127.0.0.1"]
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        wait_until(lambda: "Ready to accept" in self.log(), self.log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def login(self, service: str) -> redis.Redis:
        url = (self.folder / "access" / service / "redis_url").read_text()
        assert url.endswith("@redis:6379/0")
        self.clients.append(connect(url.replace("redis:6379", f"127.0.0.1:{self.port}")))
        return self.clients[-1]


@pytest.fixture(scope="module")
def queue(folder: Path) -> Iterator[UsersQueue]:
    queue = UsersQueue(folder)
    queue.start()
    yield queue
    queue.kill()


@pytest.fixture
def port(queue: UsersQueue) -> int:
    return queue.port


@pytest.fixture
def login(queue: UsersQueue) -> Iterator[Connect]:
    """Connects as a service to an empty queue."""
    password = (queue.folder / "data" / "operator.password").read_text()
    with redis.Redis(port=queue.port, username="operator", password=password) as operator:
        operator.flushall()
    yield queue.login
    for client in queue.clients:
        client.close()
    queue.clients.clear()


def test_a_restart_keeps_passwords_and_all_that_was_accepted(queue: UsersQueue, login: Connect) -> None:
    requests = SceneRequestStream(login("trainer_job"))
    for number in range(3):
        requests.issue(SceneRequest(id=f"s{number}", seed=number))
        send(OutcomeStream(login("sim_worker")), outcome(number, success=True), worker="w", sequence=number + 1)
    key, _ = SceneRequestStream(login("sim_worker")).take("w", 100) or ("", None)
    SceneRequestStream(login("sim_worker")).done(key)  # a transaction
    queue.kill()
    queue.start()
    assert "NOPERM" not in queue.log()
    password = (queue.folder / "data" / "operator.password").read_text()
    with redis.Redis(port=queue.port, username="operator", password=password) as operator:
        nobody = operator.acl_getuser("default")  # Redis 7.0 reads the log as this user, Valkey as one with all rights
    assert "off" in nobody["flags"]
    assert (nobody["categories"], nobody["keys"]) == (["+@all"], ["~*"])
    assert SceneRequestStream(login("trainer_job")).outstanding() == 2
    stream = OutcomeStream(login("trainer_job"))
    assert stream.sent() == {"w": 3}
    assert len(stream.read("trainer", block_ms=100)) == 3


def test_passwords_are_random_and_nobody_else_reads_them(folder: Path, queue: UsersQueue) -> None:
    files = [*(folder / "data").glob("*.password"), *(folder / "access").rglob("redis_url"), folder / "data" / "users.conf"]
    assert len(files) == 5 + 3 + 1
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    passwords = {path.read_text() for path in files if path.suffix == ".password"}
    assert len(passwords) == 5
    assert {len(each) for each in passwords} == {64}
    assert not any(each in (folder / "data" / "users.conf").read_text() for each in passwords)


def test_without_a_password_nothing_is_answered(port: int) -> None:
    for user, password in ((None, None), ("default", ""), ("sim_worker", "guessed")):
        client = redis.Redis(port=port, username=user, password=password, retry=Retry(NoBackoff(), 0))
        with client, pytest.raises((redis.AuthenticationError, NoPermissionError)):
            client.ping()


def test_passwords_of_an_orchestrator_count(tmp_path: Path) -> None:
    (tmp_path / "passwords").mkdir()
    (tmp_path / "passwords" / "sim_worker").write_text("given\n")
    for name in ("data", "bin", "access/sim_worker"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "bin" / "redis-server").symlink_to("/bin/true")
    where = {"QUEUE_DIR": "data", "ACCESS_DIR": "access", "PASSWORDS_DIR": "passwords"}
    environment = {**os.environ, **{name: str(tmp_path / path) for name, path in where.items()}}
    environment["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    subprocess.run(["sh", str(SCRIPT)], env=environment, check=True)
    assert (tmp_path / "access" / "sim_worker" / "redis_url").read_text() == "redis://sim_worker:given@redis:6379/0"
    assert not (tmp_path / "data" / "sim_worker.password").exists()
    assert (tmp_path / "data" / "operator.password").exists()
    assert sorted(path.name for path in (tmp_path / "access").iterdir()) == ["sim_worker"]


def test_the_autoscaler_sees_how_many_requests_wait_and_nothing_else(queue: UsersQueue, login: Connect) -> None:
    SceneRequestStream(login("trainer_job")).issue(SceneRequest(id="first", seed=1))
    password = (queue.folder / "data" / "autoscaler.password").read_text()
    with redis.Redis(port=queue.port, username="autoscaler", password=password) as scaler:
        assert scaler.xinfo_groups("grasp:tickets")[0]["lag"] == 1
        assert "redis_version" in scaler.info("server")
        for command in ("XRANGE grasp:tickets - +", "XINFO GROUPS grasp:outcomes", "HGETALL grasp:workers", *FORBIDDEN_TO_ALL):
            with pytest.raises(NoPermissionError):
                scaler.execute_command(*command.split())


def test_every_service_can_do_its_work(login: Connect, tmp_path: Path) -> None:
    server, worker, trainer = (login(name) for name in SERVICES)
    # The trainer asks, a worker takes, executes and reports.
    WorkerStatusStore(trainer, TRAINERS).report("trainer", {"asks": True})
    SceneRequestStream(trainer).issue(SceneRequest(id="first", seed=1))
    assert WorkerStatusStore(worker, TRAINERS).read()["trainer"]["asks"] is True
    WorkerStatusStore(worker).report("w", {"attempts": 1})
    requests = SceneRequestStream(worker)
    assert requests.claim("w", 10_000) is None
    key, request = requests.take("w", 100) or ("", None)
    assert request is not None
    send(OutcomeStream(worker), outcome(1, success=True), worker="w", sequence=1)
    requests.done(key)
    # A robot's report and an administrator's command come through the server, which also looks at the boards.
    send(OutcomeStream(server), outcome(2, success=False))
    server.rpush(COMMANDS, '{"action": "rollback", "name": "dense"}')
    assert WorkerStatusStore(server).read()["w"]["attempts"] == 1
    assert WorkerStatusStore(server, TRAINERS).read()
    # The trainer takes all of it, and tidies up.
    stream = OutcomeStream(trainer)
    entries = stream.read("trainer", block_ms=100)
    assert [each.encoded.id for entry in entries for each in entry.outcomes] == ["worker-1:1:0", "worker-1:2:0"]
    stream.dead_letter(entries[0].key, entries[0].raw, "to see that it may")
    stream.ack([entries[1].key])
    assert (stream.trim(), stream.pending(), stream.lag(), stream.sent()) == (2, 0, 0, {"w": 1})
    assert stream.deliveries() == {}
    assert stream.claim("trainer", 0) == []
    assert SceneRequestStream(trainer).outstanding() == 0
    assert trainer.xinfo_consumers(stream.stream, stream.group)
    apply_commands(trainer, Registry(tmp_path))
    assert trainer.llen(COMMANDS) == 0


FORBIDDEN = {
    "inference_server": [
        "XRANGE grasp:outcomes - +", "XTRIM grasp:outcomes MAXLEN 0", "DEL grasp:outcomes", "XADD grasp:tickets * ticket {}",
        "LRANGE grasp:registry 0 -1", "LPOP grasp:registry", "HSET grasp:workers evil {}", "GET other",
    ],
    "sim_worker": [
        "RPUSH grasp:registry {}", "XADD grasp:tickets * ticket {}", "XRANGE grasp:outcomes - +",
        "XTRIM grasp:outcomes MAXLEN 0", "HSET grasp:trainers trainer {}", "DEL grasp:tickets",
        "XGROUP DESTROY grasp:tickets workers",
    ],
    "trainer_job": ["EVAL return 0", "SET other 1"],
}  # fmt: skip
FORBIDDEN_TO_ALL = ["FLUSHALL", "CONFIG GET *", "ACL LIST", "KEYS *", "SHUTDOWN", "CLIENT LIST", "MONITOR", "SAVE"]


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_can_do_more(login: Connect, service: str) -> None:
    for command in [*FORBIDDEN[service], *FORBIDDEN_TO_ALL]:
        with pytest.raises(NoPermissionError):
            login(service).execute_command(*command.split())


def test_a_script_gets_nobody_past_his_rights(login: Connect) -> None:
    worker = login("sim_worker")
    for body in ("return redis.call('RPUSH', 'grasp:registry', 'x')", "return redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)"):
        with pytest.raises(redis.RedisError, match="permissions"):
            worker.register_script(body)(keys=["grasp:outcomes"])
