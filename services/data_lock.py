"""One launcher per data folder: two queues on one append-only file would destroy it."""

import fcntl
import os
import time
from pathlib import Path


class DataFolderInUse(Exception):
    """Another launcher, or a process that it started, works on the data folder."""


class DataLock:
    """An advisory lock on `<data_dir>/lock`.

    Children inherit the descriptor, so the lock stays taken until the last of them has ended, even when the launcher
    itself was killed: nothing starts on data that a left-over process still writes.
    """

    def __init__(self, data_dir: Path):
        self.path = data_dir / "lock"
        self.descriptor = -1

    def acquire(self, patience_seconds: float = 10.0) -> None:
        """Take the lock, waiting for processes of a killed launcher to end. Raises DataFolderInUse."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                holder = os.pread(self.descriptor, 1024, 0).decode(errors="replace").strip()
            if _lives(holder) or time.monotonic() > deadline:
                os.close(self.descriptor)
                raise DataFolderInUse(
                    f"the data folder {self.path.parent} is in use ({holder or 'by an unknown process'}). "
                    "Stop that one (Ctrl-C in its terminal, or `kill` its process), or set DATA_DIR to another folder."
                )
            time.sleep(0.1)

    def describe(self, text: str) -> None:
        """Say who holds the lock, for the message that the next one gets."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"process {os.getpid()}, {text}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; children that still live keep it."""
        os.ftruncate(self.descriptor, 0)
        os.close(self.descriptor)


def _lives(holder: str) -> bool:
    """Whether the process that a lock's description names is there."""
    try:
        os.kill(int(holder.removeprefix("process ").partition(",")[0]), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # it is, and another user's
        pass
    return True
