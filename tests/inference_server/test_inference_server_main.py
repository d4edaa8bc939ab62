"""`python -m inference_server`: help, refusals, and an orderly end."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path

import httpx
import pytest
from commands import run_module
from forked import Forked
from serving import CAMERA, DEPTH, raw_headers
from waiting import PATIENCE, wait_until


def test_help_explains_every_option() -> None:
    shown = run_module("inference_server", "--help")
    assert shown.returncode == 0
    for option in ("--port", "--models-dir", "--api-keys", "--queue-size", "--drain-seconds"):
        assert option in shown.stdout
    assert "SIGTERM" in shown.stdout


def test_it_refuses_to_be_open_to_the_network() -> None:
    refused = run_module("inference_server", "--host", "0.0.0.0")
    assert refused.returncode == 2
    assert "API_KEYS" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_it_refuses_a_device_that_is_not_there(tmp_path: Path) -> None:
    refused = run_module("inference_server", "--device", "toaster", "--models-dir", str(tmp_path))
    assert refused.returncode == 2
    assert "toaster" in refused.stderr


class Process:
    """A server process with its log."""

    def __init__(self, folder: Path) -> None:
        patient = ["--deadline-ms", f"{PATIENCE * 1e3:.0f}", "--drain-seconds", f"{PATIENCE:.0f}"]
        arguments = ["--port", "0", "--models-dir", str(folder), "--log-format", "json", *patient]
        self._file = folder / "server.log"
        self.process = Forked("inference_server", arguments, self._file, folder)

    @property
    def log(self) -> str:
        return self._file.read_text() if self._file.exists() else ""

    @property
    def url(self) -> str:
        wait_until(lambda: self._address() or self.process.poll() is not None)
        address = self._address()
        assert address, self.log
        return address

    def _address(self) -> str:
        found = re.search(r"http://127\.0\.0\.1:\d+", self.log)
        return found.group() if found else ""


@pytest.fixture
def process(tmp_path: Path):
    started = Process(tmp_path)
    yield started
    started.process.kill()
    started.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_drains_what_was_accepted(process: Process, number: signal.Signals) -> None:
    url, replies = process.url, []

    def ask() -> None:
        headers = raw_headers(options={"camera": CAMERA, "planner": "antipodal"})
        reply = httpx.post(f"{url}/predict_grasp", content=DEPTH.tobytes(), headers=headers, timeout=PATIENCE)
        replies.append(reply.status_code)

    clients = [threading.Thread(target=ask) for _ in range(6)]
    for client in clients:
        client.start()

    def figure(name: str) -> float:
        found = re.search(rf"^{name} (\S+)", httpx.get(f"{url}/metrics", timeout=PATIENCE).text, re.MULTILINE)
        assert found
        return float(found[1])

    def accepted() -> bool:
        """Whether all have a place or were planned; a connection that the kernel still holds would be reset at the end."""
        planned = figure("grasp_batch_size_sum")  # looked at first, so that none is counted twice
        return planned + figure("grasp_queue_depth") >= 6

    wait_until(accepted)
    process.process.send_signal(number)
    for client in clients:
        client.join()
    assert process.process.wait(PATIENCE) == 0, process.log
    assert replies == [200] * 6
    assert "Traceback" not in process.log
