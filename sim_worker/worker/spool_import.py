"""Spool folders of version 0.1.0: one file per outcome, locked by the worker that wrote them as long as it lived."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.outcome_codec import EncodedOutcome, read_entry

logger = logging.getLogger(__name__)


class Spool:
    """A folder that no worker holds any more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def waiting(self) -> Iterator[tuple[EncodedOutcome, str, int]]:
        """(outcome, worker, sequence) of its files, oldest first; one that cannot be read is set aside as that version did."""
        for path in sorted(self.folder.glob("*.outcome")):
            try:
                yield _read(path.read_bytes())
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                logger.error("the spooled outcome %s cannot be read and stays: %s", path, error)
                path.rename(path.with_suffix(".aside"))

    def remove(self) -> None:
        """What `waiting` gave is safe elsewhere; what was set aside stays for a person to look at."""
        for path in self.folder.glob("*.outcome"):
            path.unlink()
        if not any(self.folder.glob("*.aside")):
            shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def held_spool(folder: Path) -> Iterator[Spool | None]:
    """Hold a folder while it is read; None for one that is no spool with outcomes, or that its worker still holds."""
    if not (folder / "lock").is_file() or not any(folder.glob("*.outcome")):
        yield None
        return
    descriptor = os.open(folder / "lock", os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield Spool(folder)
    finally:
        os.close(descriptor)


def _read(data: bytes) -> tuple[EncodedOutcome, str, int]:
    """One line of JSON (worker, sequence, length of each field), then the fields of a stream entry."""
    line, _, rest = data.partition(b"\n")
    head = json.loads(line)
    fields, start = {}, 0
    for name, length in head["fields"].items():
        fields[name.encode()] = rest[start : start + length]
        start += length
    return read_entry(fields)[0], head["worker"], int(head["sequence"])
