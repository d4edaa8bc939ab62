"""Run the inference server under a profiler for one request: `python request_probe.py ROOT PORT REQUEST RESULT`.

A program of its own that imports nothing of the project, so that it can look into any tree on PYTHONPATH. ROOT: folder of that
tree. REQUEST: JSON {"path", "headers", "body"}, the body as base64. RESULT: file for what was seen, per thread {"calls",
"files", "moves"}, the moves as pairs of files.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import runpy
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

READY_SECONDS = 180.0
WARM_UP = 3
"""Requests before the one that is looked at: what happens once only is no part of a request's way."""
SETTLE_SECONDS = 0.5


class Recorder:
    """Profile function that keeps every call of a function of the project, per thread, while `on`."""

    def __init__(self, root: str):
        self.root, self.on = root + os.sep, False
        self._apart = threading.local()
        self.calls: defaultdict[str, list[tuple[str | None, str]]] = defaultdict(list)
        """File of the caller (None: no project code above) and of the function called."""

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if self.on and event == "call" and self._counts(frame.f_code) and not self._is_apart():
            self.calls[threading.current_thread().name].append((self._caller(frame), self._short(frame.f_code)))

    def leave_out_timers(self, loops: Iterable[type]) -> None:
        """From now on ignore what a timer of these event loops does that was set while not `on`, or by such a one: it would
        run without a request too."""
        for loop in loops:
            for name in ("call_later", "call_at"):
                setattr(loop, name, self._setting(getattr(loop, name)))

    def _setting(self, set_timer: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(loop: Any, when: float, callback: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
            ours = self.on and not self._is_apart()
            return set_timer(loop, when, callback if ours else partial(self._run_apart, callback), *arguments, **options)

        return wrapped

    def _run_apart(self, callback: Callable[..., Any], *arguments: Any) -> None:
        self._apart.now = True
        try:
            callback(*arguments)
        finally:
            self._apart.now = False

    def _is_apart(self) -> bool:
        return getattr(self._apart, "now", False)

    def _counts(self, code: CodeType) -> bool:
        """Whether it is a function of the project; a comprehension is a part of one (`<listcomp>`, `<genexpr>`)."""
        name = code.co_filename
        ours = name.startswith(self.root) and f"{os.sep}site-packages{os.sep}" not in name and name != __file__
        return ours and not code.co_name.startswith("<")

    def _caller(self, frame: FrameType) -> str | None:
        """File of the project's function that the call comes from, across the frames of libraries in between."""
        above = frame.f_back
        while above is not None and not self._counts(above.f_code):
            above = above.f_back
        return None if above is None else self._short(above.f_code)

    def _short(self, code: CodeType) -> str:
        return code.co_filename[len(self.root) :]

    def result(self) -> dict[str, Any]:
        return {
            thread: {
                "calls": len(calls),
                "files": len({callee for _, callee in calls}),
                "moves": [(caller, callee) for caller, callee in calls if caller not in (None, callee)],
            }
            for thread, calls in self.calls.items()
        }


def watch(recorder: Recorder, port: int, request: dict[str, Any], result: Path) -> None:
    """Wait for the server, look at one request, write what was seen, and stop the server."""
    try:
        until = time.monotonic() + READY_SECONDS
        while not ready(port):
            if time.monotonic() > until:
                raise TimeoutError(f"the server was not ready within {READY_SECONDS:.0f} s")
            time.sleep(0.2)
        # One connection for all: to open and to close one is no part of a request's way either.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_SECONDS)
        for _ in range(WARM_UP):
            ask(connection, request)
        time.sleep(SETTLE_SECONDS)  # what the last of them left to be done is done
        recorder.on = True
        ask(connection, request)
        time.sleep(SETTLE_SECONDS)
        recorder.on = False
        result.write_text(json.dumps(recorder.result()))
    finally:
        os.kill(os.getpid(), signal.SIGTERM)


def ask(connection: http.client.HTTPConnection, request: dict[str, Any]) -> None:
    connection.request("POST", request["path"], base64.b64decode(request["body"]), request["headers"])
    if not json.load(connection.getresponse())["grasps"]:
        raise ValueError("the request got no grasps: it did not go the whole way")


def event_loops() -> list[type]:
    """That a server may run on here."""
    loops: list[type] = [asyncio.BaseEventLoop]
    with suppress(ImportError):
        loops.append(import_module("uvloop").Loop)
    return loops


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def main() -> None:
    root, port, request, result = sys.argv[1:]
    recorder = Recorder(root)
    recorder.leave_out_timers(event_loops())
    asked = json.loads(Path(request).read_text())
    threading.Thread(target=watch, args=(recorder, int(port), asked, Path(result)), daemon=True).start()
    sys.argv = ["inference_server", "--port", port]
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    runpy.run_module("inference_server", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
