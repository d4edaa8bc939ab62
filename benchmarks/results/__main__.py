"""Measures every row and writes the page: `python -m benchmarks.results` (`make evaluate`).

Each row's JSON is kept under --out; a run that was interrupted goes on with the rows that are missing. The success rates
are also written into the cards of the models that were measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.results.calibration import draw_selected
from benchmarks.results.cards import write_simulated
from benchmarks.results.page import figures_of, page
from benchmarks.results.plots import draw_success
from benchmarks.results.rows import ROWS, Row

REPOSITORY = Path(__file__).resolve().parents[2]


def measure(row: Row, options: argparse.Namespace) -> dict[str, Any]:
    """The row's result, measured now unless a file holds it."""
    path = options.out / f"{row.name}.json"
    if not path.is_file():
        rounds = max(2, row.rounds // 100) if options.quick else row.rounds
        command = [*row.arguments(rounds), "--models-dir", str(options.models), "--workers", str(options.workers)]
        report = ["--json", str(path), "--report", str(options.out / "failures" / row.name)]
        print(f"{row.name}: python -m sim_worker.benchmark {' '.join(command)}", flush=True)
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "sim_worker.benchmark", *command, *report],
            check=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        result = json.loads(path.read_bytes())
        result |= {"seconds": round(time.monotonic() - started, 1), "command": command}
        path.write_text(json.dumps(result))
    value: dict[str, Any] = json.loads(path.read_bytes())
    return value


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--models", type=Path, default=REPOSITORY / "models", help="registry of the models to measure (default: %(default)s)")
    add("--out", type=Path, default=Path("data/evaluate"), help="results and failure pictures (default: %(default)s)")
    add("--page", type=Path, help="where results.md and its pictures go; none: --out")
    add("--rows", nargs="+", choices=[row.name for row in ROWS], metavar="ROW", help="only these rows")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    add("--quick", action="store_true", help="a hundredth of the rounds: proves the path, the figures say nothing")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = [row for row in ROWS if not options.rows or row.name in options.rows]
    try:
        results = {row.name: measure(row, options) for row in wanted}
    except subprocess.CalledProcessError as error:
        print(f"the benchmark failed with status {error.returncode}; the same command goes on from here", file=sys.stderr)
        return 1
    folder = options.page or options.out
    pictures = folder / "results"
    pictures.mkdir(parents=True, exist_ok=True)
    draw_success(wanted, results, pictures / "success.png")
    selected = draw_selected(results, pictures / "calibration.png")
    figures = figures_of(wanted, results, selected, options.models, (pictures / "curve.png").is_file())
    (pictures / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    (folder / "results.md").write_text(page(figures, options.models))
    if not options.quick:
        write_simulated(options.models, results)
    print(f"{folder / 'results.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
