"""`grasploop doctor`: what is here, what is wrong, and how to mend it.

Other distributions add checks by the entry-point group `grasploop.checks`: callables without arguments that give Findings.
"""

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Literal, NamedTuple

import httpx

from grasp_client.client import DEFAULT_URL

GROUP = "grasploop.checks"
ENV_FILE = Path(".env")
PACKAGES = ("grasploop-client", "grasploop", "numpy", "torch", "pybullet", "fastapi", "redis")
SECONDS = 3.0
"""Longest wait for a server."""
_SIGNS = {"ok": "ok   ", "odd": "odd  ", "wrong": "WRONG"}


class Finding(NamedTuple):
    """What a check found. level: ok; odd: works, but may not be meant; wrong: does not work. cure: what to do."""

    level: Literal["ok", "odd", "wrong"]
    what: str
    text: str
    cure: str = ""


def installed() -> Iterator[Finding]:
    """Versions of Python and of the distributions; those of GraspLoop belong together."""
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    yield Finding("ok", "packages", ", ".join(f"{name} {number}" for name, number in found.items()))
    ours = {name: found[name] for name in ("grasploop-client", "grasploop") if name in found}
    if len(set(ours.values())) > 1:
        yield Finding("wrong", "packages", f"{ours} do not belong together", "install both of the same version")


def server_url() -> str:
    """SERVER_URL, else this machine at the PORT that `make run` goes by: of the environment, or of `.env` in this folder."""
    port = os.environ.get("PORT") or ""
    if not port and ENV_FILE.is_file():
        port = next(iter(re.findall(r"^PORT=[\"']?(\d+)", ENV_FILE.read_text(errors="replace"), re.M)), "")
    return os.environ.get("SERVER_URL") or (f"http://127.0.0.1:{port}" if port.isdecimal() else DEFAULT_URL)


def server() -> Iterator[Finding]:
    """Whether the server that commands ask by default answers, is ready, and lets the key in."""
    url, key = server_url(), os.environ.get("API_KEY")
    try:
        with httpx.Client(base_url=url, timeout=SECONDS, headers={"X-API-Key": key} if key else {}) as client:
            ready = client.get("/ready")
            state = ready.json()
            yield Finding("ok", "server", f"{url} answers, on {state['device']}, models {state['models'] or 'none'}")
            if not state["ready"]:
                why = "; ".join(state["failures"].values()) or "it is still warming up"
                yield Finding("odd", "server", f"not ready: {why}", "wait, and look at its log")
            if state.get("trouble"):
                yield Finding("wrong", "server", state["trouble"], "free what it names; it goes on by itself")
            allowed = client.get("/planners")
            if allowed.status_code in (401, 403):
                message = allowed.json()["error"]["message"]
                yield Finding("wrong", "API key", message, "set API_KEY, or --api-key, to a key of that server")
            else:
                names = [planner["name"] for planner in allowed.json()["planners"] if planner["ready"]]
                yield Finding("ok", "planners", ", ".join(names) or "none is ready")
    except httpx.HTTPError as error:
        cure = "start one (`make run`, `grasploop serve`), or set SERVER_URL to where one runs"
        yield Finding("odd", "server", f"none answers at {url} ({type(error).__name__})", cure)
    except (ValueError, KeyError, TypeError):
        yield Finding(
            "wrong", "server", f"{url} is something else than a GraspLoop server", "set SERVER_URL, or PORT for another"
        )


def findings() -> Iterator[Finding]:
    """Of all checks; one that breaks is a finding too."""
    checks = [("packages", installed), ("server", server)]
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            checks.append((entry.name, entry.load()))
        except ImportError as error:
            yield Finding("odd", entry.name, f"cannot be checked: {error}", "install the extra that brings it")
    for name, check in checks:
        try:
            yield from check()
        except Exception as error:  # a doctor who falls ill must still say what was found before
            yield Finding("wrong", name, f"the check itself failed: {error!r}")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="grasploop doctor", description="Check what is installed, running and in the way.")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    arguments = parser.parse_args(argv)
    found = list(findings())
    if arguments.json:
        print(json.dumps([finding._asdict() for finding in found], indent=1))
    else:
        print(*_lines(found, sys.stdout.isatty()), sep="\n")
    return int(any(finding.level == "wrong" for finding in found))


def _lines(found: Iterable[Finding], colours: bool) -> Iterator[str]:
    tints = {"ok": "32", "odd": "33", "wrong": "31"}
    for finding in found:
        sign = f"\033[{tints[finding.level]}m{_SIGNS[finding.level]}\033[0m" if colours else _SIGNS[finding.level]
        yield f"{sign} {finding.what}: {finding.text}"
        if finding.cure:
            yield f"      -> {finding.cure}"
