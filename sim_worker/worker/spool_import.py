"""Spool folders of version 0.1.0: one file per outcome, locked by the worker that wrote them as long as it lived."""

import fcntl
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from shared.outcome_codec import EncodedOutcome, read_entry

logger = logging.getLogger(__name__)

SpooledOutcome = tuple[EncodedOutcome, str, int]
"""An outcome, who counts it, and its number there."""


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
