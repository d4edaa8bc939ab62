"""Files that are whole or absent, whatever happens in between: what a kill, a power cut or a full disk leaves is the old or the
new. And what a full disk looks like, and who may read what is kept."""

import errno
import io
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

PRIVATE_UMASK = 0o077
PRIVATE_FOLDER = 0o700
LEAST_FREE_BYTES = 64 * 2**20
"""With less than this a disk counts as full: what is begun can still be finished."""


def is_disk_full(error: BaseException) -> bool:
    """Whether the disk, or what this user may use of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def keep_private(folder: Path) -> None:
    """Makes `folder` this user's own (mode 0700), and whatever this process and its children make from now on (0700, 0600)."""
    os.umask(PRIVATE_UMASK)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(PRIVATE_FOLDER)


@contextmanager
def unfinished_folder(folder: Path) -> Iterator[Path]:
    """A new folder to be filled and renamed; it goes again where that fails, so that a full disk does not get fuller."""
    folder.mkdir()
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def private_folder(path: Path) -> Path:
    """Makes a folder that only this user may enter, or takes one that is there; returns it.

    Raises PermissionError where others own it, could write into it, or put a link in its place: what it holds may be theirs.
    """
    path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(
            f"{path}: expected a folder of user {os.geteuid()} that nobody else may write into, found "
            f"{stat.filemode(found.st_mode)} of user {found.st_uid}; remove it or choose another"
        )
    path.chmod(PRIVATE_FOLDER)
    return path


def sync_path(path: Path) -> None:
    """Makes what a file holds, or renames inside a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_together(paths: Sequence[Path]) -> None:
    """Puts files and folders on the disk. At the same time, for they then share what a disk takes longest for."""
    with ThreadPoolExecutor(len(paths)) as pool:
        list(pool.map(sync_path, paths))


def write_synced(path: Path, data: bytes | memoryview, mode: int = 0o666) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def array_bytes(array: np.ndarray) -> memoryview:
    """An array as npy. What numpy writes to a file itself loses the reason when the disk is full."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getbuffer()


def replace_file(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replaces a small file so that readers, and a restart after a crash, see the old or the new content."""
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        write_synced(temporary, data, mode)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_path(path.parent)
