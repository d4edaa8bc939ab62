"""Files that are whole or absent, whatever happens in between: what a kill or a power cut leaves is the old or the new."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Replaces a small file so that readers, and a restart after a crash, see the old or the new content."""
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    write_synced(temporary, data)
    os.replace(temporary, path)
    sync_folder(path.parent)
