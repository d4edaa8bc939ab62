"""What was acknowledged stays, whatever befalls the disk, the clock, shards and the trainer's process.

FAULTS=20 pytest -m slow -s tests/trainer_job/test_faults.py     # so many of each; `make test-faults` does it
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from block_world import block_outcome
from places import ROOT
from records import send
from waiting import wait_until

from shared.registry import Registry
from shared.shards import ShardError, ShardReader, shard_folders
from shared.streams import TRAINERS, OutcomeStream, WorkerStatusStore, connect
from trainer_job.ingest.quarantine import quarantined

FAULTS = int(os.environ.get("FAULTS", "3"))
IN_OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]
DISK_MB = 384
PAUSE_SECONDS = 0.05
"""Between outcomes."""
CLOCK = """
import os, time
real = time.time

def moved():
    with open(os.environ["CLOCK_OFFSET"]) as file:
        return real() + float(file.read() or 0)

time.time = moved
"""


def can_mount() -> bool:
    try:
        return subprocess.run([*IN_OWN_MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300 + 60 * FAULTS),
    pytest.mark.skipif(not can_mount(), reason="needs a file system of its own (unshare --user --mount)"),
]


class Sender(threading.Thread):
    """Publishes outcomes as a worker does; counts those that the queue took."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.stream, self.sent, self.done = OutcomeStream(connect(url)), list[str](), threading.Event()

    def run(self) -> None:
        while not self.done.wait(PAUSE_SECONDS):
            outcome = block_outcome(len(self.sent))
            send(self.stream, outcome, "w", len(self.sent) + 1)
            self.sent.append(outcome.id)


class Bench:
    """A trainer on a small disk of its own, which outlives it, with a clock that can be moved."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.offset = url, folder, folder / "offset"
        for name in ("disk", "python"):
            (folder / name).mkdir()
        (folder / "python" / "sitecustomize.py").write_text(CLOCK)
        self.offset.write_text("0")
        mount = f"mount -t tmpfs -o size={DISK_MB}m none {folder / 'disk'} && echo mounted && exec sleep infinity"
        self.holder = subprocess.Popen([*IN_OWN_MOUNTS, "sh", "-c", mount], stdout=subprocess.PIPE)
        assert self.holder.stdout
        assert self.holder.stdout.readline() == b"mounted\n"
        self.disk = Path(f"/proc/{self.holder.pid}/root{folder / 'disk'}")
        self.shards = self.disk / "data" / "shards"
        self.trainer: subprocess.Popen[bytes] | None = None
        self.board = WorkerStatusStore(connect(url), TRAINERS)
        self.sender = Sender(url)

    def start(self) -> None:
        data = self.folder / "disk" / "data"
        enter = ["nsenter", f"--target={self.holder.pid}", "--user", "--mount", "--preserve-credentials", f"--wd={ROOT}"]
        arguments = [
            "--redis-url", self.url, "--data-dir", str(data), "--models-dir", str(data / "models"), "--shipped-models-dir",
            str(data / "none"), "--outcomes-per-round", "60", "--shard-outcomes", "8", "--shard-seconds", "0.5",
            "--epochs", "1", "--min-steps", "12", "--max-ab-pairs", "0", "--torch-threads", "1", "--outstanding-requests", "4",
        ]  # fmt: skip
        paths = os.pathsep.join([str(self.folder / "python"), str(ROOT)])
        environment = {**os.environ, "CLOCK_OFFSET": str(self.offset), "PYTHONPATH": paths}
        with open(self.folder / "trainer.log", "ab") as log:
            command = [*enter, sys.executable, "-m", "trainer_job", *arguments]
            self.trainer = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def end(self, number: signal.Signals) -> None:
        assert self.trainer
        self.trainer.send_signal(number)
        self.trainer.wait()

    def wait_for(self, condition: Callable[[], Any]) -> None:
        assert self.trainer
        process = self.trainer
        wait_until(lambda: condition() or process.poll() is not None, self.story, every=0.05)
        assert process.poll() is None, f"the trainer has ended: {self.story()}"

    def wait_for_more(self) -> None:
        """Until something that was sent after this is on the disk."""
        mark = len(self.sender.sent)
        self.wait_for(lambda: len(self.sender.sent) > mark and self.sender.sent[mark] in self.stored())

    def stored(self) -> list[str]:
        names = list[str]()
        for folder in shard_folders(self.shards):
            with suppress(ShardError):  # damaged, and not set aside yet
                names += ShardReader(folder).ids()
        return names

    def trouble(self) -> str:
        return str(self.board.read(10).get("trainer", {}).get("trouble", ""))

    def story(self) -> str:
        return (self.folder / "trainer.log").read_text()[-4000:]

    def close(self) -> None:
        self.sender.done.set()
        for process in (self.trainer, self.holder):
            if process and process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def bench(own_queue_server: Any, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(own_queue_server.url, tmp_path)
    bench.start()
    bench.sender.start()
    bench.wait_for_more()
    yield bench
    bench.close()


def settle(bench: Bench, lost: set[str], what: str) -> None:
    """Everything that was sent and not damaged is stored, once."""
    bench.sender.done.set()
    bench.sender.join()
    stream = bench.sender.stream
    bench.wait_for(lambda: not stream.lag() and not stream.pending())
    bench.wait_for(lambda: not bench.trouble())
    bench.end(signal.SIGTERM)
    stored = [name for name in bench.stored() if not name.startswith("damaged:")]
    versions = Registry(bench.disk / "data" / "models").versions("dense")
    print(f"{what}: {len(bench.sender.sent)} sent, {len(stored)} stored, {len(lost)} damaged, versions {versions}")
    assert len(set(stored)) == len(stored)
    assert set(stored) == set(bench.sender.sent) - lost
    assert [path for path in (bench.disk / "data").rglob("*") if path.stat().st_mode & 0o077] == []


def test_a_full_disk_is_waited_for(bench: Bench) -> None:
    ballast = bench.disk / "ballast"
    for _ in range(FAULTS):
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(2**20))
            except OSError:
                pass
        bench.wait_for(lambda: bench.trouble().startswith("disk full"))
        ballast.unlink()
        bench.wait_for_more()
    settle(bench, set(), f"{FAULTS} times disk full")


def test_jumps_of_the_clock_change_nothing(bench: Bench) -> None:
    chance = random.Random(0)
    for _ in range(FAULTS):
        bench.offset.write_text(str(chance.choice([-86_400, 86_400, 0])))
        bench.wait_for_more()
        bench.wait_for(lambda: bench.board.read(10).get("trainer", {}).get("trouble") == "")
    settle(bench, set(), f"{FAULTS} jumps of the clock")


def damage(shard: Path, kind: int) -> list[str]:
    """Damages a shard in one of four ways; the ids of outcomes that cannot be read any more."""
    reader = ShardReader(shard)
    last = len(reader) - 1
    if kind == 0:
        os.truncate(shard / "index.json", 20)
        return []
    if kind == 1:
        index = json.loads((shard / "index.json").read_text())
        del index["ids"]
        (shard / "index.json").write_text(json.dumps(index))
        return []
    if kind == 2:
        lines = (shard / "outcomes.jsonl").read_bytes().splitlines(keepends=True)
        (shard / "outcomes.jsonl").write_bytes(b"".join([*lines[:-1], lines[-1][:100]]))
        return [reader.ids()[last]]
    os.truncate(shard / "images.bin", reader.image_key(last, "depth") + 7)
    return [reader.ids()[last]]


def test_damaged_shards_and_kills_lose_only_what_is_damaged(bench: Bench) -> None:
    chance, lost, damaged = random.Random(FAULTS), set[str](), set[Path]()
    for number in range(FAULTS):
        bench.wait_for_more()
        bench.end(signal.SIGKILL)
        shard = chance.choice([each for each in shard_folders(bench.shards) if each not in damaged])
        damaged.add(shard)
        lost |= set(damage(shard, number % 4))
        bench.start()
    bench.wait_for_more()
    settle(bench, lost, f"{FAULTS} damaged shards and kills")
    assert len(quarantined(bench.shards)) == FAULTS
