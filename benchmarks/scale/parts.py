"""The processes of a run: the queue, ingest, the server and the fleet, each of which may be killed and comes back."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.serving.servers import free_port
from grasp_client import GraspClient
from services import queue
from shared.retrying import Troubles
from shared.settings import TrainerSettings
from shared.streams import connect
from trainer_job.ingest.threads import IngestThreads

Process = Any
"""Of subprocess or multiprocessing: has a pid, `kill` and a way to wait."""
SPAWN = multiprocessing.get_context("spawn")


def run_ingest(url: str, data: Path, part: int, streams: int, processes: int, ready: Any = None) -> None:
    """An ingest process, until it is terminated. ready: a barrier at which it waits before it begins."""
    settings = TrainerSettings(redis_url=url, data_dir=data, outcome_streams=streams, ingest_processes=processes)
    threads = IngestThreads(connect(url), settings, lambda scene: True, part, Troubles())
    if ready is not None:
        ready.wait()
    threads.start()
    while threads.is_alive():
        time.sleep(0.5)


class Parts:
    """What runs, by name, and how each is started again."""

    def __init__(self) -> None:
        self.running: dict[str, Process] = {}
        self._starts: dict[str, Callable[[], Process]] = {}
        self.cpu_of_dead: dict[str, float] = {}

    def add(self, name: str, start: Callable[[], Process]) -> None:
        self._starts[name] = start
        self.running[name] = start()

    def spawn(self, name: str, target: Callable[..., None], *arguments: object) -> None:
        def start() -> Process:
            process = SPAWN.Process(target=target, args=arguments, daemon=True)
            process.start()
            return process

        self.add(name, start)

    def queue(self, folder: Path, address: str = "") -> tuple[str, str]:
        """Starts the queue as `make run` does; its URL, and that for hosts, for which it listens at `address` besides."""
        embedded, port, command = queue.EmbeddedQueue(folder), free_port(), list[str]()
        if address:
            command = ["--bind", address, "--port", str(port), "--protected-mode", "no"]
        self.add("queue", lambda: subprocess.Popen([*embedded.command(), *command], stdout=subprocess.DEVNULL))
        while not queue.answers(embedded.url):
            time.sleep(0.05)
        return embedded.url, f"redis://{address}:{port}/0" if address else embedded.url

    def server(self, address: str = "127.0.0.1") -> str:
        """Starts an inference server with the models that ship; its URL once it is ready."""
        url, where = f"http://{address}:{(port := free_port())}", {"PORT": str(port), "CONNECTIONS_PER_ADDRESS": "4096"}
        where |= {"HOST": address, "ALLOW_OPEN": "true"}
        environment = {**os.environ, **where, "MODELS_DIR": "models", "LOG_LEVEL": "error"}
        self.add("server", lambda: subprocess.Popen([sys.executable, "-m", "inference_server"], env=environment))
        with GraspClient(url) as client:
            client.wait_until_ready(900)
        return url

    def kill(self, chance: random.Random) -> list[str]:
        """Kills one part with SIGKILL, of the fleet a third, and starts them again."""
        kind = chance.choice(sorted({name.partition("-")[0] for name in self.running}))
        names = [name for name in self.running if name.partition("-")[0] == kind]
        third = names[: -(-len(names) // 3)]
        for name in third:
            self.cpu_of_dead[name] = self.cpu(name)
            self.running[name].kill()
            _wait(self.running[name])
            self.running[name] = self._starts[name]()
        return third

    def cpu(self, name: str) -> float:
        """Seconds of CPU that a part has taken, those of its dead processes too."""
        fields = Path(f"/proc/{self.running[name].pid}/stat").read_text().rpartition(")")[2].split()
        return self.cpu_of_dead.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ingest_cpu(self) -> float:
        """Of all ingest processes together."""
        return sum(self.cpu(name) for name in self.running if name.startswith("ingest"))

    def memory(self, name: str) -> float:
        """Resident MB."""
        with suppress(OSError):
            pages = int(Path(f"/proc/{self.running[name].pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return 0.0

    def wait(self, kind: str) -> None:
        """Until all of a kind have ended by themselves."""
        for name, process in self.running.items():
            if name.partition("-")[0] == kind:
                _wait(process)

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            _wait(process)


def _wait(process: Process) -> None:
    process.wait() if isinstance(process, subprocess.Popen) else process.join()
