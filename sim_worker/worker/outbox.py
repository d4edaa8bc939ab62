"""The outbox of a worker: every outcome is on disk, as the bytes that the queue will get, until the queue has taken it.

Outcomes come as scenes are done with, those of one as one batch. Each process has one SQLite database in a folder that all
workers of a machine share. Its exclusive lock lives and dies with the process: a database that can be opened belongs to nobody
any more, and whoever opens it sends what is left in it. Every outcome is synchronised to the disk before anyone is told of it,
so only a lost disk loses one.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from shared.durable import is_disk_full
from shared.outcome_codec import EncodedOutcome
from shared.streams.outcome_batches import OutcomeBatch, pack_outcomes
from sim_worker.worker.spool_import import SpooledOutcome, import_database, import_spool

logger = logging.getLogger(__name__)

SUFFIX = ".sqlite3"
OWN_SECONDS = 2.0
"""A neighbour that looks for the dead may hold our database, just made, for a moment."""
LOG_PAGES = 250
"""Of 4 KiB, at which the log goes into the database: on a full disk little room is then enough to go on."""
VERSION = 2
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS batch (
  entry INTEGER PRIMARY KEY, worker TEXT NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, size INTEGER NOT NULL,
  quarantined TEXT);
CREATE TABLE IF NOT EXISTS field (entry INTEGER NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS fields ON field (entry);
PRAGMA user_version = {VERSION};
COMMIT;
"""


def no_room(error: BaseException) -> bool:
    """Whether it is the disk that is full."""
    return is_disk_full(error) or (isinstance(error, sqlite3.OperationalError) and "full" in str(error))


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

    def put(self, batches: Iterable[OutcomeBatch]) -> None:
        """Keep batches, all or none; when this returns they are on the disk."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            for batch in batches:
                row = (batch.worker, batch.first, batch.count, batch.size_bytes)
                number = self._database.execute("INSERT INTO batch VALUES (NULL, ?, ?, ?, ?, NULL)", row).lastrowid
                fields = [(number, name, data) for name, data in batch.body.items()]
                self._database.executemany("INSERT INTO field VALUES (?, ?, ?)", fields)

    def numbers(self) -> list[int]:
        """What waits, oldest first."""
        rows = self._database.execute("SELECT entry FROM batch WHERE quarantined IS NULL ORDER BY entry").fetchall()
        return [number for (number,) in rows]

    def read(self, number: int) -> OutcomeBatch:
        row = self._database.execute("SELECT worker, first, count FROM batch WHERE entry = ?", (number,))
        worker, first, count = row.fetchone()
        fields = self._database.execute("SELECT name, data FROM field WHERE entry = ? ORDER BY rowid", (number,))
        return OutcomeBatch(worker, first, count, dict(fields.fetchall()))

    def delete(self, numbers: Iterable[int]) -> None:
        """Forget batches, without waiting for the disk: one that a power cut brings back is sent again, and not taken again."""
        self._database.execute("PRAGMA synchronous = NORMAL")
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                for number in numbers:
                    self._database.execute("DELETE FROM field WHERE entry = ?", (number,))
                    self._database.execute("DELETE FROM batch WHERE entry = ?", (number,))
        finally:
            self._database.execute("PRAGMA synchronous = FULL")

    def quarantine(self, number: int, reason: str) -> None:
        self._database.execute("UPDATE batch SET quarantined = ? WHERE entry = ?", (reason, number))

    def size_bytes(self) -> int:
        return self.number("SELECT COALESCE(SUM(size), 0) FROM batch WHERE quarantined IS NULL")

    def waiting(self) -> int:
        """How many outcomes wait."""
        return self.number("SELECT COALESCE(SUM(count), 0) FROM batch WHERE quarantined IS NULL")

    def close(self) -> None:
        """Give the lock back; an empty database is removed. One that its process is just making stays."""
        empty = self.finished and not self.number("SELECT COUNT(*) FROM batch")
        self._database.close()
        if empty:
            for end in ("", "-wal", "-journal"):
                self.path.with_name(self.path.name + end).unlink(missing_ok=True)

    def number(self, query: str) -> int:
        (value,) = self._database.execute(query).fetchone()
        return int(value)


Place = tuple[OutboxFile, int]
"""Where a batch lies."""


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
        self._next = 1

    def put(self, outcomes: Sequence[EncodedOutcome]) -> OutcomeBatch:
        """Keep a scene's outcomes; when this returns, only a lost disk can lose them. Raises OSError or sqlite3.Error when that
        fails."""
        body = pack_outcomes(outcomes)
        with self._lock:
            batch = OutcomeBatch(self.worker, self._next, len(outcomes), body)
            self._own.put([batch])
            self._next += batch.count
        return batch

    def claim_orphans(self) -> int:
        """Take over what processes left that are gone; returns how many outcomes."""
        with self._lock:
            held = {file.path for file in self._files()}
            found = sum(self._claim(path) for path in sorted(self.root.glob(f"*{SUFFIX}")) if path not in held)
            return found + sum(import_spool(folder, self._keep) for folder in sorted(self.root.iterdir()) if folder.is_dir())

    def _files(self) -> list[OutboxFile]:
        return [*self._orphans, self._own]

    def _keep(self, spooled: list[SpooledOutcome]) -> None:
        self._own.put(OutcomeBatch(worker, number, 1, pack_outcomes([outcome])) for outcome, worker, number in spooled)

    def _claim(self, path: Path) -> int:
        try:
            if found := import_database(path, self._keep):
                return found
            file = OutboxFile(path, make=False)
        except sqlite3.OperationalError:
            return 0  # its process lives, or another has just emptied it
        except sqlite3.DatabaseError as error:
            logger.error("the outbox %s cannot be read and is left to be looked at: %s", path, error)
            path.rename(path.with_suffix(".unreadable"))
            return 0
        waiting = file.waiting() if file.finished else 0
        if waiting:
            self._orphans.append(file)
        else:
            file.close()
        return waiting

    def waiting(self) -> int:
        """How many outcomes are not delivered yet."""
        with self._lock:
            return sum(file.waiting() for file in self._files())

    def batches(self) -> Iterator[tuple[Place, OutcomeBatch]]:
        """What waits, oldest first, orphans before the own, with the place to tell `done` or `quarantine`."""
        with self._lock:
            places = [(file, number) for file in self._files() for number in file.numbers()]
        for file, number in places:
            with self._lock:
                batch = file.read(number)
            yield (file, number), batch

    def quarantine(self, place: Place, reason: str) -> None:
        """Keep outcomes that can never be delivered, with the reason, for a person to look at."""
        file, number = place
        with self._lock:
            file.quarantine(number, reason)

    def done(self, places: Sequence[Place]) -> None:
        """These were delivered; an orphan that is empty now goes."""
        with self._lock:
            for file in dict.fromkeys(file for file, _ in places):
                file.delete([number for each, number in places if each is file])
                if file in self._orphans and not file.waiting():
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
