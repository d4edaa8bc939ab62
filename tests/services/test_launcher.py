"""Children are started in order, restarted when they die, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_loop import runs
from waiting import PATIENCE, FakeClock, wait_until

from services.launcher import Launcher, StartFailed
from services.process import ManagedProcess, ProcessSpec

SLEEP = "import time; time.sleep(600)"
DRAINS = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up', flush=True); time.sleep(600)"
)
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


class Nursery:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
        self.children: list[ManagedProcess] = []

    def child(
        self, name: str, program: str, ready: Callable[[], bool] | None = None, may_finish: bool = False
    ) -> ManagedProcess:
        spec = ProcessSpec(name, [sys.executable, "-c", program], dict(os.environ), ready or (lambda: True), may_finish)
        self.children.append(ManagedProcess(spec, self.folder / "logs", self.lock))
        return self.children[-1]


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path)
    yield nursery
    for child in nursery.children:
        child.signal_group(signal.SIGKILL)
        if child.process:
            child.process.wait()
    os.close(nursery.lock)


def test_a_stage_starts_when_the_one_before_is_ready(nursery: Nursery) -> None:
    gate = []
    first, second = nursery.child("first", SLEEP, ready=lambda: bool(gate)), nursery.child("second", SLEEP)
    launcher = Launcher([[first], [second]], [], print)
    for _ in range(3):
        launcher.tick()
    assert first.alive
    assert second.process is None
    gate.append("open")
    launcher.tick()
    assert second.alive
    assert launcher.all_ready


def test_a_killed_child_is_started_again(nursery: Nursery) -> None:
    said: list[str] = []
    child = nursery.child("worker", SLEEP)
    launcher = Launcher([[child]], [], said.append)
    launcher.tick()
    assert child.process
    killed = child.process.pid
    child.process.kill()
    wait_until(lambda: launcher.tick() or (child.alive and child.process and child.process.pid != killed))
    assert child.restarts == 1
    assert "worker was killed by SIGKILL" in said[0]
    assert "worker is started again" in said[1]


def test_pauses_between_restarts_grow(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr("services.process.time", clock)
    child = nursery.child("broken", "raise SystemExit('no such thing')")
    child.start()
    pauses = []
    for _ in range(3):
        wait_until(lambda: not child.alive)
        assert "ended with status 1" in (child.tend() or "")
        pauses.append(child.restart_at - clock.now)
        clock.now = child.restart_at
        child.tend()
    assert pauses[0] < pauses[1] < pauses[2]


def test_a_child_that_never_gets_ready_ends_the_start_with_its_log(nursery: Nursery) -> None:
    child = nursery.child("broken", "raise SystemExit('the reason')", ready=lambda: False)
    launcher = Launcher([[child]], [], print)

    def tick_at_once() -> None:
        child.restart_at = min(child.restart_at, time.monotonic())
        launcher.tick()

    with pytest.raises(StartFailed, match="the reason"):
        wait_until(tick_at_once)


def test_kills_before_it_is_ready_do_not_end_the_start(nursery: Nursery) -> None:
    gate: list[str] = []
    child = nursery.child("slow", SLEEP, ready=lambda: bool(gate))
    launcher = Launcher([[child]], [], print)

    def lives() -> bool:
        child.restart_at = min(child.restart_at, time.monotonic())
        launcher.tick()
        return child.alive

    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        wait_until(lives)
        child.signal_group(number)
        wait_until(lambda: not child.alive)
    gate.append("open")
    wait_until(lambda: lives() and launcher.all_ready)
    assert (child.restarts, child.crashes) == (4, 0)


def test_a_program_that_breaks_is_no_kill(nursery: Nursery) -> None:
    child = nursery.child("broken", "import os; os.abort()", ready=lambda: False)
    child.start()
    wait_until(lambda: not child.alive)
    assert "SIGABRT" in (child.tend() or "")
    assert child.crashes == 1


def test_finished_work_is_not_started_again(nursery: Nursery) -> None:
    child = nursery.child("worker", "pass", may_finish=True)
    launcher = Launcher([[child]], [], print)
    launcher.run(each_tick=lambda: None)
    assert child.finished
    assert child.restarts == 0


def test_stop_drains_in_order_and_kills_who_does_not_end(nursery: Nursery) -> None:
    said: list[str] = []
    worker, stubborn = nursery.child("worker", DRAINS), nursery.child("stubborn", STUBBORN)
    launcher = Launcher([[worker, stubborn]], [([worker], PATIENCE), ([stubborn], 0.1)], said.append)
    launcher.tick()
    wait_until(lambda: all(child.log_path.read_text().strip() == "up" for child in launcher.children))
    launcher.stop()
    assert worker.process is not None
    assert worker.process.returncode == 0
    assert stubborn.process is not None
    assert stubborn.process.returncode == -signal.SIGKILL
    assert said == ["stubborn did not end within 0.1 s and is killed"]


def test_the_log_of_a_child_stays_bounded(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.process.LOG_BYTES", 1000)
    child = nursery.child("chatty", "print('x' * 5000, flush=True); import time; time.sleep(600)")
    child.start()
    wait_until(lambda: child.log_path.stat().st_size == 5001)
    child.tend()
    assert child.log_path.stat().st_size == 0
    assert child.log_path.with_suffix(".log.1").stat().st_size == 5001


def test_a_full_disk_shortens_the_log_all_the_same(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.process.LOG_BYTES", 1000)
    child = nursery.child("chatty", "pass")
    child.logs_dir.mkdir()
    child.log_path.write_text("x" * 5000)
    child.log_path.with_suffix(".log.1").symlink_to("/dev/full")
    child.tend()
    assert child.log_path.stat().st_size == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tell a child that its parent died")
def test_no_child_outlives_a_killed_launcher(tmp_path: Path) -> None:
    program = f"""
import os, sys, time
from pathlib import Path
from services.process import ManagedProcess, ProcessSpec
lock = os.open({str(tmp_path / "lock")!r}, os.O_RDWR | os.O_CREAT)
spec = ProcessSpec("child", [sys.executable, "-c", {STUBBORN!r}], dict(os.environ), lambda: True)
child = ManagedProcess(spec, Path({str(tmp_path)!r}), lock)
child.start()
print(child.process.pid, flush=True)
time.sleep(600)
"""
    launcher = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout
    number = int(launcher.stdout.readline())
    wait_until(lambda: (tmp_path / "child.log").exists() and (tmp_path / "child.log").read_text().strip() == "up")
    launcher.kill()
    launcher.wait()
    wait_until(lambda: not runs(number))
    assert not runs(number)
