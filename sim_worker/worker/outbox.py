"""The outbox of a worker: every outcome is on disk, as the bytes that the queue will get, until the queue has taken it.

Each process has one SQLite database in a folder that all workers of a machine share. Its exclusive lock lives and dies with the
process: a database that can be opened belongs to nobody any more, and whoever opens it sends what is left in it. Every outcome
is synchronised to the disk before anyone is told of it, so only a lost disk loses one.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from shared.durable import is_disk_full
from shared.outcome_codec import EncodedOutcome
from sim_worker.worker.spool_import import SpooledOutcome, import_spool

logger = logging.getLogger(__name__)

SUFFIX = ".sqlite3"
OWN_SECONDS = 2.0
"""A neighbour that looks for the dead may hold our database, just made, for a moment."""
LOG_PAGES = 250
"""Of 4 KiB, at which the log goes into the database: on a full disk little room is then enough to go on."""
VERSION = 1
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS outcome (
  entry INTEGER PRIMARY KEY, worker TEXT NOT NULL, sequence INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
  meta BLOB NOT NULL, size INTEGER NOT NULL, quarantined TEXT);
CREATE TABLE IF NOT EXISTS image (entry INTEGER NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL);
PRAGMA user_version = {VERSION};
COMMIT;
"""


def no_room(error: BaseException) -> bool:
    """Whether it is the disk that is full."""
    return is_disk_full(error) or (isinstance(error, sqlite3.OperationalError) and "full" in str(error))


@dataclass(frozen=True)
class OutboxEntry:
    """An outcome and who counts it: `sequence` rises by one per outcome of `worker`."""

    outcome: EncodedOutcome
    worker: str
    sequence: int


class OutboxFile:
    """One database, locked for this process until it is closed. Used by one thread at a time.

    Raises sqlite3.OperationalError when another process holds it, or when it is not there and not to be made.
    """

    def __init__(self, path: Path, make: bool) -> None:
        self.path = path
        address = f"file:{quote(str(path.absolute()))}?mode={'rwc' if make else 'rw'}"
        timeout = OWN_SECONDS if make else 0.0
        self._database = sqlite3.connect(address, timeout, isolation_level=None, check_same_thread=False, uri=True)
        try:
            # Before anything else: in this mode a write-ahead log needs no memory shared between processes.
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.finished = make or self.number("PRAGMA user_version") == VERSION
            if self.finished:
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = FULL")  # syncs the log at every commit: a power cut loses nothing
                self._database.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
                self._database.executescript(SCHEMA)
        except sqlite3.Error:
            self._database.close()
            raise

    def put(self, entries: Iterable[OutboxEntry]) -> None:
        """Keep entries, all or none; when this returns they are on the disk."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            for entry in entries:
                outcome = entry.outcome
                size = len(outcome.meta) + sum(map(len, outcome.images.values()))
                row = (entry.worker, entry.sequence, outcome.id, outcome.kind, outcome.meta, size)
                number = self._database.execute("INSERT INTO outcome VALUES (NULL, ?, ?, ?, ?, ?, ?, NULL)", row).lastrowid
                images = [(number, name, data) for name, data in outcome.images.items()]
                self._database.executemany("INSERT INTO image VALUES (?, ?, ?)", images)

    def numbers(self) -> list[int]:
        """What waits, oldest first."""
        rows = self._database.execute("SELECT entry FROM outcome WHERE quarantined IS NULL ORDER BY entry").fetchall()
        return [number for (number,) in rows]

    def read(self, number: int) -> OutboxEntry:
        row = self._database.execute("SELECT worker, sequence, id, kind, meta FROM outcome WHERE entry = ?", (number,))
        worker, sequence, name, kind, meta = row.fetchone()
        images = self._database.execute("SELECT name, data FROM image WHERE entry = ? ORDER BY rowid", (number,))
        return OutboxEntry(EncodedOutcome(name, kind, meta, dict(images.fetchall())), worker, sequence)

    def delete(self, number: int) -> None:
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("DELETE FROM image WHERE entry = ?", (number,))
            self._database.execute("DELETE FROM outcome WHERE entry = ?", (number,))

    def quarantine(self, number: int, reason: str) -> None:
        self._database.execute("UPDATE outcome SET quarantined = ? WHERE entry = ?", (reason, number))

    def size_bytes(self) -> int:
        return self.number("SELECT COALESCE(SUM(size), 0) FROM outcome WHERE quarantined IS NULL")

    def close(self) -> None:
        """Give the lock back; an empty database is removed. One that its process is just making stays."""
        empty = self.finished and not self.number("SELECT COUNT(*) FROM outcome")
        self._database.close()
        if empty:
            for end in ("", "-wal", "-journal"):
                self.path.with_name(self.path.name + end).unlink(missing_ok=True)

    def number(self, query: str) -> int:
        (value,) = self._database.execute(query).fetchone()
        return int(value)


Place = tuple[OutboxFile, int]
"""Where an entry lies."""


class Outbox:
    """First in, first out, on disk; `claim_orphans` takes over what dead processes left. Any thread may look while another
    delivers.

    root: the folder that workers share. worker: unique to this process (see `sim_worker.worker.worker.boot_name`).
    Raises RuntimeError where another process has that name, OSError or sqlite3.Error when the disk is full.
    """

    def __init__(self, root: Path, worker: str, limit_bytes: float = float("inf")) -> None:
        self.worker = worker
        self.limit_bytes = limit_bytes
        self.root = Path(root)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._own = OutboxFile(self.root / f"{worker}{SUFFIX}", make=True)
        except sqlite3.OperationalError as error:
            if no_room(error):
                raise
            raise RuntimeError(f"the outbox of {worker} in {root} is in use by another process, or broken: {error}") from error
        self._orphans: list[OutboxFile] = []
        self._lock = threading.RLock()
        self._sequence = 0

    def put(self, outcome: EncodedOutcome) -> OutboxEntry:
        """Keep an outcome; when this returns, only a lost disk can lose it. Raises OSError or sqlite3.Error when that fails."""
        with self._lock:
            self._sequence += 1
            entry = OutboxEntry(outcome, self.worker, self._sequence)
            self._own.put([entry])
        return entry

    def claim_orphans(self) -> int:
        """Take over what processes left that are gone; returns how many outcomes."""
        with self._lock:
            held = {file.path for file in self._files()}
            found = sum(self._claim(path) for path in sorted(self.root.glob(f"*{SUFFIX}")) if path not in held)
            return found + sum(import_spool(folder, self._keep) for folder in sorted(self.root.iterdir()) if folder.is_dir())

    def _files(self) -> list[OutboxFile]:
        return [*self._orphans, self._own]

    def _keep(self, spooled: list[SpooledOutcome]) -> None:
        self._own.put(OutboxEntry(*each) for each in spooled)

    def _claim(self, path: Path) -> int:
        try:
            file = OutboxFile(path, make=False)
        except sqlite3.OperationalError:
            return 0  # its process lives, or another has just emptied it
        except sqlite3.DatabaseError as error:
            logger.error("the outbox %s cannot be read and is left to be looked at: %s", path, error)
            path.rename(path.with_suffix(".unreadable"))
            return 0
        waiting = len(file.numbers()) if file.finished else 0
        if waiting:
            self._orphans.append(file)
        else:
            file.close()
        return waiting

    def waiting(self) -> list[Place]:
        """What is not delivered yet, orphans first, each file in order."""
        with self._lock:
            return [(file, number) for file in self._files() for number in file.numbers()]

    def entries(self) -> Iterator[tuple[Place, OutboxEntry]]:
        """What waits, oldest first, with the place to tell `done` or `quarantine`."""
        for file, number in self.waiting():
            with self._lock:
                entry = file.read(number)
            yield (file, number), entry

    def quarantine(self, place: Place, reason: str) -> None:
        """Keep an outcome that can never be delivered, with the reason, for a person to look at."""
        file, number = place
        with self._lock:
            file.quarantine(number, reason)

    def done(self, place: Place) -> None:
        """The outcome was delivered; an orphan that is empty now goes."""
        file, number = place
        with self._lock:
            file.delete(number)
            if file in self._orphans and not file.numbers():
                self._orphans.remove(file)
                file.close()

    def size_bytes(self) -> int:
        with self._lock:
            return sum(file.size_bytes() for file in self._files())

    def full(self) -> bool:
        return self.size_bytes() >= self.limit_bytes

    def close(self) -> None:
        """Give the files back; what is empty is removed."""
        with self._lock:
            for file in self._files():
                file.close()
            self._orphans.clear()
