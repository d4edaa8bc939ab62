"""Success against attempts: `python -m benchmarks.results.curve --shards data/pretrain/attempts/jaw ...`.

Trains the dense scorer from random weights on more and more of the collected attempts and measures each on the same scenes of
unseen objects. Goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

SIZES = (500, 2_000, 8_000, 32_000)
PROFILES = ("standard", "hard")


def point(size: int, options: argparse.Namespace) -> dict[str, Any]:
    """{attempts, profile: {rate, low, high, attempts}, antipodal: ...} of a network that learned from `size` attempts."""
    folder = options.out / f"curve-{size}"
    models = folder / "models"
    if not (models / "dense" / "champion").is_file():
        learn = ["--shards", *map(str, options.shards), "--models", str(models), "--most", str(size), "--epochs", "8"]
        _run("trainer_job.fit", *learn, "--cache", str(options.out / "fit"))
    found: dict[str, Any] = {"attempts": size}
    for profile in PROFILES:
        result = folder / f"{profile}.json"
        if not result.is_file():
            scenes = ["single", "--profile", profile, "--rounds", str(options.rounds), "--no-baselines"]
            planners = ["--planner", "dense", "--planner", "antipodal", "--models-dir", str(models)]
            _run("sim_worker.benchmark", *scenes, *planners, "--json", str(result), "--workers", str(options.workers))
        planners_of = json.loads(result.read_bytes())["planners"]
        found[profile] = {name: figures["first_attempt"] for name, figures in planners_of.items()}
    return found


def _run(module: str, *arguments: str) -> None:
    print(f"python -m {module} {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def draw(points: Sequence[dict[str, Any]], path: Path) -> None:
    """Success of the first attempt against attempts learned from, with 95 % intervals; dashed: geometry alone."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="attempts learned from", ylabel="success on unseen objects", xscale="log")
    sizes = [each["attempts"] for each in points]
    for profile, colour in zip(PROFILES, ("tab:blue", "tab:orange"), strict=True):
        learned = [each[profile]["dense"] for each in points]
        rates = [figures["rate"] for figures in learned]
        span = [[f["rate"] - f["low"] for f in learned], [f["high"] - f["rate"] for f in learned]]
        axes.errorbar(sizes, rates, yerr=span, marker="o", color=colour, capsize=3, label=f"dense, {profile}")
        axes.axhline(points[-1][profile]["antipodal"]["rate"], color=colour, linestyle="--", label=f"antipodal, {profile}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.results.curve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--shards", type=Path, nargs="+", required=True, help="folders of collected attempts")
    add("--sizes", type=int, nargs="+", default=list(SIZES), help="attempts to learn from (default: %(default)s)")
    add("--rounds", type=int, default=300, help="scenes per point and profile (default: %(default)s)")
    add("--out", type=Path, default=Path("data/evaluate"), help="networks and results (default: %(default)s)")
    add("--page", type=Path, default=Path("docs/results"), help="where the picture and its figures go (default: %(default)s)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    options = parser.parse_args(arguments)
    points = [point(size, options) for size in options.sizes]
    options.page.mkdir(parents=True, exist_ok=True)
    draw(points, options.page / "curve.png")
    (options.page / "curve.json").write_text(json.dumps(points, indent=1) + "\n")
    print(options.page / "curve.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
