"""`make demo`: the loop learns to lift what the shipped weights drop. `python -m benchmarks.demo --help`

Twelve hammers with long handles are drawn from a seed. The weights that ship take them in the middle of the handle, where they
swing down and slip; nothing in a depth image says that the head is heavy. Queue, server, worker and trainer run as in `make
run`, on a free port and in one folder, until a new version is promoted and served. Both versions are then tried on twelve
other hammers, in the same scenes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.demo.loop import Learned, learn
from shared.durable import replace_file
from shared.rates import paired_gain

ROOT = Path(__file__).resolve().parents[2]
MARK, REPORT, PLOT = "demo.txt", "demo.json", "demo.png"
MARK_TEXT = "Made by `make demo`, which removes this folder when it starts again. Nothing else of it lies anywhere.\n"


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.demo", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--seed", type=int, default=0, help="of hammers, scenes and training (default: %(default)s)")
    add("--out", type=Path, default=Path("data/demo"), help="the folder, made anew (default: %(default)s)")
    add("--minutes", type=float, default=10.0, help="most time until a version is promoted (default: %(default)s)")
    add("--scenes", type=int, default=150, help="scenes of the test before and after (default: %(default)s)")
    add("--outcomes", type=int, default=900, help="outcomes that start a training round (default: %(default)s)")
    add("--models", type=Path, default=ROOT / "models", help="registry whose `dense` it starts from")
    return parser


def begin(folder: Path) -> None:
    """An empty folder of this command. Raises ValueError for a folder that holds anything else."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise ValueError(f"{folder} holds something that is not of a demo: name another one (OUT=folder make demo)")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).write_text(MARK_TEXT)


def table(report: dict[str, Any]) -> Table:
    """Success before and after, as people read it."""
    shown = Table(title=f"{report['gain']['n']} scenes of twelve hammers that neither taught nor decided", title_justify="left")
    for column in ("version", "lifted", "95 % interval"):
        shown.add_column(column)
    for when in ("before", "after"):
        its = report[when]
        shown.add_row(f"{its['version']} ({when})", f"{its['rate']:.0%}", f"{its['low']:.0%} to {its['high']:.0%}")
    gain = report["gain"]
    shown.add_row("gain", f"{gain['points']:+.0f} points", f"{gain['low']:+.0f} to {gain['high']:+.0f}")
    return shown


def tested(options: argparse.Namespace, found: Learned) -> dict[str, Any]:
    """Both versions in the same scenes of hammers that the loop has not met."""
    from benchmarks.learning.success import rate, results  # loads torch, for seconds: not while the loop starts
    from benchmarks.learning.tools import LONG, write
    from sim_worker.benchmark.trials import Protocol

    others = write(options.out / "other-hammers", 12, options.seed + 1000, LONG)
    protocol = Protocol(
        kind="single", profile="hard", objects_dir=others.resolve(), rounds=options.scenes, seeds=[options.seed]
    )
    tried = results(options.out / "models", [found.before, found.after], protocol, options.out / "success.json")
    before, after = tried[found.before], tried[found.after]
    return {
        "seed": options.seed,
        "seconds_until_served": round(found.seconds),
        "attempts_until_served": found.attempts,
        "decision": found.reason,
        "before": {"version": found.before, **rate(before)},
        "after": {"version": found.after, **rate(after)},
        "gain": paired_gain(before, after),
    }


def main() -> int:
    options = parser().parse_args()
    console = Console()

    def end(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        begin(options.out)
        console.print(f"[bold]GraspLoop learns to lift hammers[/bold]: up to {options.minutes:g} minutes; Ctrl-C ends it")
        started = time.monotonic()
        found = learn(options.out, options.seed, options.outcomes, options.models, options.minutes)
    except ValueError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; all that it made lies in {options.out}")
        return 130
    if found is None:
        print(f"no version was promoted within {options.minutes:g} minutes; {options.out / 'launcher.txt'} tells what happened")
        return 1
    took = time.monotonic() - started
    console.print(f"version {found.after} serves after {found.seconds:.0f} s and {found.attempts} attempts: {found.reason}")
    console.print("now both versions on other hammers ...")
    report = tested(options, found)
    from benchmarks.demo.plot import draw

    draw(options.out, report, options.out / PLOT)
    replace_file(options.out / REPORT, json.dumps(report, indent=1).encode())
    console.print(table(report))
    console.print(f"curve: {options.out / PLOT}, figures: {options.out / REPORT}; {took:.0f} s of learning on this machine")
    console.print(f"`rm -r {options.out}` removes every trace; `make run` starts the loop for real")
    return 0


if __name__ == "__main__":
    sys.exit(main())
