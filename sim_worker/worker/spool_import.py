"""What workers of before left: databases with one outcome an entry, and the spool folders of version 0.1.0, one file per
outcome, locked by the worker that wrote them as long as it lived."""

import fcntl
import json
import logging
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from shared.outcome_codec import EncodedOutcome, read_entry

logger = logging.getLogger(__name__)

SpooledOutcome = tuple[EncodedOutcome, str, int]
"""An outcome, who counts it, and its number there."""


def import_database(path: Path, keep: Callable[[list[SpooledOutcome]], None]) -> int:
    """Hands the outcomes of a database of before, whose worker is gone, to `keep`, oldest first, then removes them; returns how
    many. What it holds in quarantine stays. Raises sqlite3.Error where its process lives or it cannot be read."""
    address = f"file:{quote(str(path.absolute()))}?mode=rw"
    with closing(sqlite3.connect(address, 0.0, isolation_level=None, uri=True)) as database:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        if database.execute("PRAGMA user_version").fetchone() != (1,):
            return 0
        database.execute("BEGIN IMMEDIATE")
        rows = database.execute(
            "SELECT entry, worker, sequence, id, kind, meta FROM outcome WHERE quarantined IS NULL ORDER BY entry"
        ).fetchall()
        entries = []
        for entry, worker, number, name, kind, meta in rows:
            images = database.execute("SELECT name, data FROM image WHERE entry = ? ORDER BY rowid", (entry,)).fetchall()
            entries.append((EncodedOutcome(name, kind, meta, dict(images)), worker, number))
        keep(entries)
        for entry, *_ in rows:
            database.execute("DELETE FROM image WHERE entry = ?", (entry,))
            database.execute("DELETE FROM outcome WHERE entry = ?", (entry,))
        database.execute("COMMIT")
        (left,) = database.execute("SELECT COUNT(*) FROM outcome").fetchone()
    if not left:
        for end in ("", "-wal", "-journal"):
            path.with_name(path.name + end).unlink(missing_ok=True)
    return len(entries)


def import_spool(folder: Path, keep: Callable[[list[SpooledOutcome]], None]) -> int:
    """Hands the outcomes of a worker that is gone to `keep`, oldest first, then removes them; returns how many.

    A file that cannot be read is set aside, as that version did, and its folder stays for a person to look at.
    """
    if not (folder / "lock").is_file() or not any(folder.glob("*.outcome")):
        return 0
    entries = []
    with open(folder / "lock", "rb+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # its worker lives
        for path in sorted(folder.glob("*.outcome")):
            try:
                entries.append(_read(path.read_bytes()))
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                logger.error("the spooled outcome %s cannot be read and stays: %s", path, error)
                path.rename(path.with_suffix(".aside"))
        keep(entries)
        for path in folder.glob("*.outcome"):
            path.unlink()
        if not any(folder.glob("*.aside")):
            shutil.rmtree(folder, ignore_errors=True)
    return len(entries)


def _read(data: bytes) -> SpooledOutcome:
    """One line of JSON (worker, sequence, length of each field), then the fields of a stream entry."""
    line, _, rest = data.partition(b"\n")
    head = json.loads(line)
    fields, start = {}, 0
    for name, length in head["fields"].items():
        fields[name.encode()] = rest[start : start + length]
        start += length
    return read_entry(fields)[0], head["worker"], int(head["sequence"])
