"""Makes every model that ships from nothing but seeds: `python -m services.pretrain` (`make pretrain`).

Collects simulated attempts, trains, calibrates and publishes, in steps that are the project's own commands. What is done is
noted in the folder; a run that was interrupted goes on where it stopped, in the middle of a collection too.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from services.pretrain_plan import CUPS, Step, plan
from services.process import die_with_parent
from shared.durable import replace_file

NOTES = "steps.json"


class Notes:
    """Which steps are done, with which command and in what time."""

    def __init__(self, folder: Path):
        self._path = folder / NOTES
        self._done: dict[str, dict[str, Any]] = json.loads(self._path.read_bytes()) if self._path.is_file() else {}

    def done(self, step: Step) -> bool:
        return bool(self._done.get(step.name, {}).get("command") == lasting(step))

    def write(self, step: Step, seconds: float) -> None:
        self._done[step.name] = {"command": lasting(step), "seconds": round(seconds, 1)}
        replace_file(self._path, json.dumps(self._done, indent=1).encode())


def lasting(step: Step) -> list[str]:
    """The command without what does not change its result."""
    return [word for word in step.command() if not word.startswith("--workers=")]


def run(steps: Sequence[Step], folder: Path) -> int:
    """Runs what is not done yet, and what follows from it; the exit status of the first step that fails, or 0."""
    notes, renewed = Notes(folder), set[str]()
    for number, step in enumerate(steps, start=1):
        title = f"[{number}/{len(steps)}] {step.name}"
        if notes.done(step) and not step.models & renewed:
            print(f"{title}: done before", flush=True)
            continue
        print(f"{title}: python -m {' '.join(step.command())}", flush=True)
        started = time.monotonic()
        command = [sys.executable, "-m", *step.command()]
        # A step that outlived its run would write beside that of the next.
        end = partial(die_with_parent, signal.SIGTERM)
        status = subprocess.run(command, env=os.environ | step.environment, preexec_fn=end).returncode
        if status:
            print(f"{title}: ended with status {status}; the same command goes on from here", file=sys.stderr)
            return status
        seconds = time.monotonic() - started
        print(f"{title}: done in {seconds:.0f} s", flush=True)
        notes.write(step, seconds)
        renewed |= step.models
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m services.pretrain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path("data/pretrain"), help="collected attempts, runs and registry (default: %(default)s)")
    add("--ship", type=Path, help="registry that the finished models are copied into, such as models; none: they stay in --out")
    add("--quick", action="store_true", help="a hundredth of everything: proves the path in minutes, the models are no good")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes that collect (default: %(default)s)")
    add("--only", nargs="+", metavar="MODEL", help="only the steps of these models")
    add("--list", action="store_true", help="print the steps and stop")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        steps = plan(options.out, options.ship, options.quick, options.workers, options.only)
    except ValueError as error:
        print(f"pretrain: {error}", file=sys.stderr)
        return 2
    if options.list:
        for step in steps:
            print(f"{step.name}: python -m {' '.join(step.command())}")
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    for name, radius in CUPS.items():
        (options.out / f"{name}.json").write_text(json.dumps({"kind": "suction", "cup_radius": radius}))
    try:
        return run(steps, options.out)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
