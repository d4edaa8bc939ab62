"""A child process of the launcher: started with its own log and process group, restarted when it dies, never orphaned."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
STEADY_SECONDS = 60.0
"""A child that ran this long before it died is restarted at once; one that dies sooner waits longer each time."""
LOG_BYTES = 20 * 2**20
KILLED = [-number for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
"""Exit statuses of a process that somebody else ended."""
_SET_PARENT_DEATH_SIGNAL = 1
_PARENT = os.getpid()
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(number: signal.Signals) -> None:
    """To be called in a child of this process before its program starts: it gets the signal when its parent is killed."""
    if _libc is not None:
        _libc.prctl(_SET_PARENT_DEATH_SIGNAL, int(number))
        if os.getppid() != _PARENT:  # killed in between: the signal will not come any more
            os._exit(1)


@dataclass(frozen=True)
class ProcessSpec:
    """What to run. ready: asked until it says yes, then the next stage starts. may_finish: exit status 0 means work done."""

    name: str
    command: list[str]
    environment: dict[str, str]
    ready: Callable[[], bool]
    may_finish: bool = False
    niceness: int = 0
    death_signal: signal.Signals = signal.SIGKILL
    """What the child gets when the launcher is killed: SIGKILL where nothing is lost by it, so that none can stay."""


@dataclass
class ManagedProcess:
    spec: ProcessSpec
    logs_dir: Path
    lock_descriptor: int
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    pause: float = field(default=FIRST_PAUSE, repr=False)
    restarts: int = 0
    crashes: int = 0
    """How often it ended by itself; what others killed has not failed."""
    log_begins: int = 0
    """Where in the log file the present process began to write."""
    was_ready: bool = False
    ever_ready: bool = False
    finished: bool = False

    @property
    def log_path(self) -> Path:
        return self.logs_dir / f"{self.spec.name}.log"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process in a session of its own: Ctrl-C in the terminal reaches the launcher alone, which then drains."""
        self.logs_dir.mkdir(parents=True, exist_ok=True)
        with open(self.log_path, "ab") as log:
            self.log_begins = log.tell()
            self.process = subprocess.Popen(
                self.spec.command,
                env=self.spec.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(self.lock_descriptor,),
                preexec_fn=self._prepare,
            )
        self.started_at = time.monotonic()
        self.was_ready = False

    def ready(self) -> bool:
        """Whether it has been ready since it was started, or has finished its work."""
        if self.alive and not self.was_ready:
            self.was_ready = self.spec.ready()
            self.ever_ready = self.ever_ready or self.was_ready
        return self.finished or (self.alive and self.was_ready)

    def tend(self) -> str | None:
        """Restart a dead child when its pause is over; returns a line to show when something happened."""
        self._limit_log()
        if self.process is None or self.finished:
            return None
        if self.restart_at:
            if time.monotonic() < self.restart_at:
                return None
            self.restart_at = 0.0
            self.restarts += 1
            self.start()
            return f"{self.spec.name} is started again"
        status = self.process.poll()
        return None if status is None else self._died(status)

    def log_tail(self, lines: int) -> str:
        """The last lines that the present process, or the one that died, has logged."""
        with open(self.log_path, "rb") as log:
            log.seek(self.log_begins)
            return "\n".join(f"  {line}" for line in log.read().decode(errors="replace").splitlines()[-lines:])

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the child and whatever it started."""
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
                os.killpg(self.process.pid, number)

    def _died(self, status: int) -> str:
        if status == 0 and self.spec.may_finish:
            self.finished = True
            return f"{self.spec.name} has finished"
        self.crashes += status not in KILLED
        self.signal_group(signal.SIGKILL)
        if time.monotonic() - self.started_at > STEADY_SECONDS:
            self.pause = FIRST_PAUSE
        self.restart_at = time.monotonic() + self.pause
        pause, self.pause = self.pause, min(self.pause * 2, LONGEST_PAUSE)
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{self.spec.name} {how}; starting it again in {pause:g} s (log: {self.log_path})"

    def _limit_log(self) -> None:
        """Keep one older half: the child writes in append mode, so its file can be emptied under it."""
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES:
            with suppress(OSError):  # on a full disk room matters more than an old log
                shutil.copyfile(self.log_path, self.log_path.with_suffix(".log.1"))
            os.truncate(self.log_path, 0)

    def _prepare(self) -> None:
        """Runs in the child before its program does."""
        die_with_parent(self.spec.death_signal)
        if self.spec.niceness:
            os.nice(self.spec.niceness)
