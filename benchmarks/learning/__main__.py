"""`python -m benchmarks.learning`: how the loop learns, through its real services.

    scratch --seed 0    from random weights: success on unseen objects against attempts
    tools --seed 0      from the shipped weights, on hammers, which the shipped model does badly on
    hard --seed 0       the same on random shapes that were chosen because the shipped model does badly on them
    judge --seed 0      how often the judge is right: with known rates, and on executed pairs where `scratch` has a champion
    robots --seed 0     robots only: what a scripted robot reports over HTTP teaches a version and promotes it
    rollback            a bad champion put into the running loop by hand, and how it goes out again
    plot                PNG of what has been measured

Each goes on where it was stopped: call it again until it says that it is whole. All follows from the seeds, but for the order
in which the services happen to run.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from shared.registry import Registry

ROOT = Path(__file__).resolve().parents[2]


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.learning", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("what", choices=("scratch", "tools", "hard", "judge", "robots", "rollback", "plot"))
    add("--seed", type=int, default=0)
    add(
        "--out",
        type=Path,
        default=Path("data/benchmarks/learning"),
        help="where runs and reports are kept (default: %(default)s)",
    )
    add("--attempts", type=int, default=2_000, help="attempts of the loop, trials of the judge included; robots: reports")
    add("--minutes", type=float, default=10.0, help="stop the loop after so long; call again to go on")
    add("--models", type=Path, default=ROOT / "models", help="tools, hard: registry whose champion it starts from")
    add("--pictures", type=Path, default=ROOT / "docs" / "learning", help="plot: folder of the PNG")
    return parser


def main() -> int:
    options = parser().parse_args()
    from benchmarks.learning import hard, judging, plots, robots, scratch  # torch takes seconds to load: not for --help

    if options.what == "plot":
        print(plots.draw(options.out, options.pictures))
        return 0
    if options.what == "robots":
        print(json.dumps(robots.run(options.out, options.models, options.seed, options.attempts, options.minutes), indent=1))
        return 0
    if options.what == "rollback":
        print(json.dumps(judging.rollback(options.out, options.models, options.seed), indent=1))
        return 0
    if options.what == "judge":
        models = options.out / f"scratch-{options.seed}" / "models"
        print(judging.report(options.out, models, Registry(models).champion("dense"), options.seed).read_text())
        return 0
    if options.what == "scratch":
        whole = scratch.run(options.out, options.seed, options.attempts, options.minutes)
    else:
        lesson = hard.LESSONS[options.what](options.out, options.models)
        whole = hard.run(lesson, options.out, options.seed, options.attempts, options.models, options.minutes)
    report = options.out / f"{options.what}-{options.seed}.json"
    print(report.read_text() if whole else "not whole yet: call again to go on")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
