"""The whole loop on one machine without containers: `python -m services.local` (`make run`).

Starts the queue (unless REDIS_URL names one), the inference server, the trainer and the simulation workers as child
processes: the same programs, with the same environment variables, as the containers run. Children that die are started
again; Ctrl-C or SIGTERM drains and stops all. Data stays in DATA_DIR and is continued at the next start.
"""

import os
import secrets
import shutil
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsConfigDict

from grasp_client.contract import plain_message
from inference_server.security.keys import has_keys, key_with
from services import queue
from services.data_lock import DataFolderInUse, DataLock
from services.launcher import Launcher, StartFailed
from services.process import ManagedProcess, ProcessSpec
from services.status import StatusReader
from services.view import StatusDisplay, choose_display
from shared.durable import keep_private
from shared.settings import LocalSettings, ServerSettings, TrainerSettings, WorkerSettings
from shared.streams import redacted

STATUS_SECONDS = 1.0
LEAST_FREE_BYTES = 2**24
"""With less room on its disk the queue may not start again."""
# Patience while stopping; the services' own drain times lie below.
WORKER_SECONDS, SERVER_SECONDS, TRAINER_SECONDS, QUEUE_SECONDS = 20.0, 15.0, 30.0, 20.0


class PortInUse(Exception):
    """Another program listens where the server should."""


class RunSettings(LocalSettings):
    """Queue, inference server, trainer and simulation workers on this machine, with data that the next start continues."""

    model_config = SettingsConfigDict(cli_prog_name="python -m services.local")


def check_port(host: str, port: int) -> None:
    """Raises PortInUse with a way out when the server could not listen there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(
                f"the server cannot listen on {host}:{port}: {error.strerror}. Stop the program that does, or choose another "
                f"port: PORT={port + 1} make run"
            ) from None


def keys_of(server: ServerSettings, worker: WorkerSettings) -> tuple[dict[str, str], dict[str, str]]:
    """Variables of the server and of the workers, so that these have a key where one is asked for: the one that is set, else
    one of the server's that lets them, else a new one for this start. Raises ValueError for API_KEYS that are none."""
    keys = server.api_keys
    if keys is None or not has_keys(server) or worker.api_key is not None:
        return {}, {}
    if key := key_with("worker", keys) or key_with("predict", keys):
        return {}, {"API_KEY": key}
    key = secrets.token_urlsafe(24)
    return {"API_KEYS": f"{keys.get_secret_value()},make-run:worker:{key}"}, {"API_KEY": key}


class Loop:
    """The children of one `make run`, and what they are told."""

    def __init__(self, settings: LocalSettings, lock: DataLock):
        self.settings, self.lock = settings, lock
        self.data = settings.data_dir
        self.reserved = queue.ReservedPort()  # kept while this lives
        self.port = settings.port or self.reserved.number
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        self.queue = None if settings.redis_url else queue.EmbeddedQueue(self.data / "queue")
        self.redis_url = self.queue.url if self.queue else str(settings.redis_url)
        self.cores = os.cpu_count() or 1
        self.server_keys, self.worker_keys = keys_of(ServerSettings(), WorkerSettings())

    def environment(self, threads: int, **more: str) -> dict[str, str]:
        """What every child gets: where things are, and how many threads it may use (unless the user says otherwise)."""
        paths = {"DATA_DIR": str(self.data), "MODELS_DIR": str(self.models_dir), "REDIS_URL": self.redis_url}
        limits = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
        return {"LOG_FORMAT": "text", "PYTHONUNBUFFERED": "1", **limits, **os.environ, **paths, **more}

    @property
    def models_dir(self) -> Path:
        return self.data / "models"

    def queue_children(self) -> list[ManagedProcess]:
        if self.queue is None:
            return []
        ready = partial(queue.answers, self.redis_url)
        return [self._child("queue", self.queue.command(), self.environment(1), ready, death_signal=signal.SIGTERM)]

    def server(self) -> ManagedProcess:
        where = {"HOST": self.settings.host, "PORT": str(self.port)} | self.server_keys
        return self._service("inference_server", self._server_is_ready, max(1, self.cores // 2), where)

    def trainer(self) -> ManagedProcess:
        finite = TrainerSettings().rounds > 0
        return self._service("trainer_job", threads=max(1, self.cores // 2), may_finish=finite, niceness=5)

    def workers(self) -> list[ManagedProcess]:
        finite = WorkerSettings().attempts > 0
        common = {"SERVER_URL": self.url, "OUTBOX_DIR": str(self.data / "spool")} | self.worker_keys
        names = [f"sim_worker-{number}" for number in range(1, self.settings.workers + 1)]
        return [self._service(name, variables=common | {"WORKER_ID": name}, may_finish=finite, niceness=5) for name in names]

    def _service(
        self,
        name: str,
        ready: Callable[[], bool] = lambda: True,
        threads: int = 1,
        variables: dict[str, str] | None = None,
        **spec: Any,
    ) -> ManagedProcess:
        """A service's program; what follows a hyphen in its name numbers it."""
        command = [sys.executable, "-m", name.partition("-")[0]]
        return self._child(name, command, self.environment(threads, **(variables or {})), ready, **spec)

    def _child(self, name: str, command: list[str], environment: dict[str, str], *spec: Any, **more: Any) -> ManagedProcess:
        process = ProcessSpec(name, command, environment, *spec, **more)
        return ManagedProcess(process, self.data / "logs", self.lock.descriptor)

    def _server_is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False


def build(loop: Loop, view: StatusDisplay) -> Launcher:
    """Who starts after whom, and who stops before whom: the queue outlives all that write to it."""
    queues, server, trainer, workers = loop.queue_children(), loop.server(), loop.trainer(), loop.workers()
    stop_order = [
        (workers, WORKER_SECONDS),
        ([server], SERVER_SECONDS),
        ([trainer], TRAINER_SECONDS),
        (queues, QUEUE_SECONDS),
    ]
    return Launcher([queues, [server, trainer], workers], stop_order, view.say)


def run(settings: LocalSettings) -> None:
    """Run until a signal asks to stop. Raises DataFolderInUse, PortInUse or QueueError when it cannot start."""
    keep_private(settings.data_dir)
    lock = DataLock(settings.data_dir)
    lock.acquire()
    loop = Loop(settings, lock)
    check_port(settings.host, loop.port)
    if settings.redis_url and not queue.answers(settings.redis_url):
        raise queue.QueueError(
            f"no queue answers at {redacted(settings.redis_url)}: start it, or unset REDIS_URL to have one started"
        )
    lock.describe(f"serving at {loop.url}")
    view = choose_display(loop.url)
    launcher = build(loop, view)

    def ask_to_stop(number: int, _: FrameType | None) -> None:
        if launcher.stopping:  # asked twice: do not wait for anybody
            for child in launcher.children:
                child.signal_group(signal.SIGKILL)
        launcher.stopping = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask_to_stop)
    view.say(
        f"server at {loop.url}, queue at {redacted(loop.redis_url)}, data in {settings.data_dir}, logs in "
        f"{settings.data_dir / 'logs'}"
    )
    try:
        follow(launcher, loop, view)
    finally:
        view.say("stopping ...")
        launcher.stop()
        lock.release()
        view.say("stopped")
        view.close()


def follow(launcher: Launcher, loop: Loop, view: StatusDisplay) -> None:
    """Keep the children alive and show how they do."""
    reader = StatusReader(loop.redis_url, loop.models_dir, loop.data / "shards", WorkerSettings().outcome_streams)
    shown_at, announced, unseen, full = 0.0, False, "", False

    def look() -> None:
        nonlocal shown_at, announced, unseen, full
        if launcher.all_ready and not announced:
            announced = True
            view.say(f"ready: POST a depth image to {loop.url}/predict_grasp (Ctrl-C stops)")
        if time.monotonic() - shown_at >= STATUS_SECONDS:
            shown_at = time.monotonic()
            try:
                # Said here, since a queue that cannot write ends, and then no status row tells of it.
                if full != (shutil.disk_usage(loop.data).free < LEAST_FREE_BYTES):
                    full = not full
                    view.say(f"{'disk full: all wait for room' if full else 'there is room again'} in {loop.data}")
                view.show(launcher.children, reader.read())
                unseen = ""
            except Exception as error:  # whatever lies in queue, registry or shards must not end those who work
                said, unseen = unseen, f"the status cannot be shown: {type(error).__name__}: {error}"
                if said != unseen:
                    view.say(unseen)

    launcher.run(look)


def main() -> int:
    try:
        run(CliApp.run(RunSettings))
    except (DataFolderInUse, PortInUse, queue.QueueError, StartFailed, OSError) as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(map(str, problem["loc"])).upper()
            print(f"cannot start: {name}={problem['input']!r}: {plain_message(problem)}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
