"""The lock on the data folder: one launcher, and left-over children count."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE

from services.data_lock import DataFolderInUse, DataLock


def test_a_second_launcher_is_told_who_is_there(tmp_path: Path) -> None:
    first, second = DataLock(tmp_path), DataLock(tmp_path)
    first.acquire()
    first.describe("serving at http://127.0.0.1:8000")
    with pytest.raises(DataFolderInUse, match=r"serving at http://127\.0\.0\.1:8000.*DATA_DIR"):
        second.acquire(patience_seconds=30)  # does not wait: that launcher lives
    first.release()
    second.acquire(patience_seconds=0)
    second.release()


def test_a_new_data_folder_is_its_users_alone(tmp_path: Path) -> None:
    lock = DataLock(tmp_path / "data")
    lock.acquire()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert lock.path.stat().st_mode & 0o777 == 0o600
    lock.release()


def test_a_left_over_child_keeps_the_lock(tmp_path: Path) -> None:
    lock = DataLock(tmp_path)
    lock.acquire()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock.descriptor,))
    lock.release()
    with pytest.raises(DataFolderInUse):
        DataLock(tmp_path).acquire(patience_seconds=0.2)
    child.kill()
    child.wait()
    again = DataLock(tmp_path)
    again.acquire(patience_seconds=0)
    again.release()


def test_it_waits_for_a_left_over_child_that_ends(tmp_path: Path) -> None:
    lock = DataLock(tmp_path)
    lock.acquire()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5)"], pass_fds=(lock.descriptor,))
    lock.release()
    again = DataLock(tmp_path)
    again.acquire(patience_seconds=PATIENCE)
    assert child.wait(PATIENCE) == 0
    again.release()
