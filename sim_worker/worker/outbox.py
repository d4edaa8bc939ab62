"""The outbox of a worker: every outcome is a file until the queue has taken it.

An outcome is written whole (temporary file, rename) before anyone is told of it and deleted after it was delivered, oldest
first, so a worker that is killed loses nothing and a queue that is away costs only disk. A folder belongs to the process
that holds its lock; what a dead process left behind is adopted by the next one that looks.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.outcome_codec import EncodedOutcome, read_entry

SUFFIX = ".outcome"
ASIDE = ".aside"
OWN_TRIES, OWN_PAUSE = 20, 0.02


class OutboxError(ValueError):
    """A spooled file cannot be read back."""


@dataclass(frozen=True)
class OutboxEntry:
    """An outcome and who counts it: `sequence` rises by one per outcome of `worker`."""

    outcome: EncodedOutcome
    worker: str
    sequence: int


def encode(entry: OutboxEntry) -> bytes:
    """One line of JSON (worker, sequence, length of each field), then the fields of the queue's own encoding."""
    fields = entry.outcome.fields()
    head = {
        "worker": entry.worker,
        "sequence": entry.sequence,
        "fields": {name: len(value) for name, value in fields.items()},
    }
    return json.dumps(head).encode() + b"\n" + b"".join(fields.values())


def decode(data: bytes) -> OutboxEntry:
    """Inverse of `encode`; raises SpoolError when the file is cut short or is not an outcome."""
    line, _, rest = data.partition(b"\n")
    try:
        head = json.loads(line)
        fields, start = {}, 0
        for name, length in head["fields"].items():
            fields[name.encode()] = rest[start : start + length]
            start += length
        return OutboxEntry(read_entry(fields)[0], head["worker"], int(head["sequence"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise OutboxError(f"expected a spooled outcome, got {len(data)} bytes that do not fit: {error}") from error


class Outbox:
    """First in, first out, on disk. One process writes a folder; `adopt` takes over those of the dead.

    Any thread may look while another delivers, and other processes discard folders under our eyes: a file or folder that is
    seen may be gone a moment later, which only means that it was delivered.

    root: holds one folder per worker process. worker: unique to this process (see `sim_worker.worker.worker.boot_name`).
    """

    def __init__(self, root: Path, worker: str, limit_bytes: float = float("inf")) -> None:
        self.worker = worker
        self.limit_bytes = limit_bytes
        self.root = Path(root)
        self.folder = self.root / worker
        self._locks = {self.folder: _own(self.folder)}
        self._sequence = max((_sequence(path) for path in _outcomes(self.folder)), default=0)

    def put(self, outcome: EncodedOutcome) -> OutboxEntry:
        """Keep an outcome; when this returns, only a lost disk can lose it."""
        self._sequence += 1
        entry = OutboxEntry(outcome, self.worker, self._sequence)
        handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(encode(entry))
        os.replace(temporary, self.folder / f"{entry.sequence:012d}{SUFFIX}")
        return entry

    def adopt(self) -> int:
        """Take over the folders of processes that are gone; returns how many outcomes they had left."""
        found = 0
        for folder in sorted(self.root.iterdir()):
            if folder in self._locks or not folder.is_dir():
                continue
            try:
                lock = _lock(folder)
            except FileNotFoundError:
                continue  # another process has just emptied it
            if lock is None:
                continue
            left = len(_outcomes(folder))
            if left:
                self._locks[folder] = lock
                found += left
            else:
                _discard(folder, lock)
        return found

    def waiting(self) -> list[Path]:
        """Files not delivered yet, adopted ones first, each folder in order."""
        folders = sorted(self._locks, key=lambda folder: folder == self.folder)
        return [path for folder in folders for path in _outcomes(folder)]

    def entries(self) -> Iterator[tuple[Path, OutboxEntry]]:
        """What waits, oldest first; a file that cannot be read is set aside."""
        for path in self.waiting():
            try:
                yield path, decode(path.read_bytes())
            except FileNotFoundError:
                continue
            except OutboxError:
                self.set_aside(path)

    def set_aside(self, path: Path) -> None:
        """Keep a file that can never be delivered, under another name, for a person to look at."""
        path.rename(path.with_suffix(ASIDE))

    def done(self, path: Path) -> None:
        """The outcome in `path` was delivered; an adopted folder that is empty now goes."""
        path.unlink(missing_ok=True)
        folder = path.parent
        if folder != self.folder and not _outcomes(folder):
            _discard(folder, self._locks.pop(folder))

    def size_bytes(self) -> int:
        return sum(_size(path) for path in self.waiting())

    def full(self) -> bool:
        return self.size_bytes() >= self.limit_bytes

    def close(self) -> None:
        """Give the folders back; an empty one of our own is removed."""
        for folder, lock in list(self._locks.items()):
            if _outcomes(folder):
                os.close(lock)
            else:
                _discard(folder, lock)
        self._locks.clear()


def _outcomes(folder: Path) -> list[Path]:
    """The outcomes in a folder, oldest first; none when it is gone."""
    try:
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


def _size(path: Path) -> int:
    """Bytes of a file, 0 when it is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sequence(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 0


def _lock(folder: Path) -> int | None:
    """Hold the folder's lock file until this process ends, however it ends; None when another process holds it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _own(folder: Path) -> int:
    """Make the folder and lock it. A neighbour that looks for the dead may hold or remove it in between: then once more."""
    for _ in range(OWN_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = _lock(folder)
        except FileNotFoundError:
            continue
        if lock is None:
            time.sleep(OWN_PAUSE)
        elif (folder / "lock").exists():
            return lock
        else:
            os.close(lock)
    raise RuntimeError(f"spool folder {folder} is in use by another process: worker names must be unique")


def _discard(folder: Path, lock: int) -> None:
    if not any(folder.glob(f"*{ASIDE}")):
        shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
