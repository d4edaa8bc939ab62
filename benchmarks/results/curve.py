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

from shared.registry import Registry

SIZES = (1_000, 3_000, 10_000, 30_000)
PROFILES = ("standard", "hard")


def point(size: int, options: argparse.Namespace) -> dict[str, Any]:
    """{attempts, auc, seconds, profile: {rate, low, high, attempts}} of a network that learned from `size` attempts of each
    folder."""
    folder = options.out / f"curve-{size}"
    registry = Registry(folder / "models")
    if registry.champion("dense") is None:
        learn = ["--shards", *map(str, options.shards), "--models", str(registry.root), "--max-outcomes", str(size)]
        _run("trainer_job.train", "--name", "dense", *learn, "--epochs", "8", "--cache", str(options.out / "fit"))
    card = registry.card("dense", registry.champion("dense") or 0)
    found: dict[str, Any] = {"attempts": card.outcomes["count"], "auc": card.metrics["auc"], "held_out": card.metrics["n"]}
    found["seconds"] = (card.model_extra or {})["training"]["seconds"]
    return found | {profile: measured("dense", profile, folder, registry.root, options) for profile in PROFILES}


def measured(planner: str, profile: str, folder: Path, models: Path, options: argparse.Namespace) -> dict[str, Any]:
    """First attempts of a planner on single unseen objects: rate, interval, number. Kept in `folder`."""
    result = folder / f"{planner}-{profile}.json"
    if not result.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        scenes = ["single", "--profile", profile, "--rounds", str(options.rounds), "--no-baselines"]
        which = ["--planner", planner, "--models-dir", str(models), "--workers", str(options.workers)]
        _run("sim_worker.benchmark", *scenes, *which, "--json", str(result))
    value: dict[str, Any] = json.loads(result.read_bytes())["planners"][planner]["first_attempt"]
    return value


def _run(module: str, *arguments: str) -> None:
    print(f"python -m {module} {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def draw(points: Sequence[dict[str, Any]], geometry: dict[str, dict[str, Any]], path: Path) -> None:
    """Success of the first attempt against attempts learned from, with 95 % intervals; dashed: geometry alone. Beside it the
    area under the ROC curve on held-out attempts."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes, ranking = figure.subplots(1, 2)
    sizes = [each["attempts"] for each in points]
    for profile, colour in zip(PROFILES, ("tab:blue", "tab:orange"), strict=True):
        learned = [each[profile] for each in points]
        rates = [figures["rate"] for figures in learned]
        span = [[f["rate"] - f["low"] for f in learned], [f["high"] - f["rate"] for f in learned]]
        axes.errorbar(sizes, rates, yerr=span, marker="o", color=colour, capsize=3, label=f"dense, {profile}")
        axes.axhline(geometry[profile]["rate"], color=colour, linestyle="--", label=f"antipodal, {profile}")
    ranking.plot(sizes, [each["auc"] for each in points], marker="o", color="tab:blue")
    axes.set(xlabel="attempts learned from", ylabel="success on unseen objects", xscale="log")
    axes.set_title(f"{points[-1][PROFILES[0]]['attempts']} scenes per point, 95 % intervals", fontsize=8)
    ranking.set_title(f"{points[-1]['held_out']:.0f} attempts of other scenes", fontsize=8)
    ranking.set(xlabel="attempts learned from", ylabel="AUC on held-out attempts", xscale="log")
    axes.legend(fontsize=8)
    for each in (axes, ranking):
        each.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.results.curve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--shards", type=Path, nargs="+", required=True, help="folders of collected attempts")
    add(
        "--sizes", type=int, nargs="+", default=list(SIZES), help="attempts of each folder to learn from (default: %(default)s)"
    )
    add("--rounds", type=int, default=300, help="scenes per point and profile (default: %(default)s)")
    add("--out", type=Path, default=Path("data/evaluate"), help="networks and results (default: %(default)s)")
    add("--page", type=Path, default=Path("docs/results"), help="where the picture and its figures go (default: %(default)s)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    options = parser.parse_args(arguments)
    points = [point(size, options) for size in options.sizes]
    geometry = {profile: measured("antipodal", profile, options.out / "curve", options.out, options) for profile in PROFILES}
    options.page.mkdir(parents=True, exist_ok=True)
    draw(points, geometry, options.page / "curve.png")
    (options.page / "curve.json").write_text(json.dumps({"dense": points, "antipodal": geometry}, indent=1) + "\n")
    print(options.page / "curve.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
