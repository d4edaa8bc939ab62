"""Runs the tests again and again beside a load on two cores, and says of each run whether it passed and what failed.

python -m tests.repeat 10 -n auto      # ten runs; what follows the number is for pytest (`make test-repeat N=10`)

runs/repeat keeps what each run of a commit came to, and all that one said that failed: stopped and started again it goes on
with the runs that are missing. A tree with changes begins anew.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from zlib import crc32

CORES = 2
BUSY = "while True: pass"
FOLDER = Path("runs/repeat")


@dataclass(frozen=True)
class Run:
    """What one run came to. said: its last line, and the tests that failed or the end of its output."""

    passed: bool
    seconds: float
    said: str

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'} in {self.seconds:.0f} s: {self.said}"


@contextmanager
def load() -> Iterator[None]:
    """Keeps CORES cores busy while the block runs."""
    loops = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(CORES)]
    try:
        yield
        assert all(loop.poll() is None for loop in loops), "a loop has ended: the load was less than it should be"
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def run(arguments: Sequence[str], output: Path) -> Run:
    """Run the tests once; where they fail, all that they say goes into a file."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "pytest", *arguments], capture_output=True, text=True)
    seconds = time.monotonic() - started
    lines = done.stdout.rstrip().splitlines() or [""]
    if done.returncode == 0:
        return Run(True, seconds, lines[-1])
    output.write_text(f"{done.stdout}\n{done.stderr}")
    failed = [line for line in lines if re.match("FAILED|ERROR", line)]
    told = failed or [*lines[-20:], done.stderr[-2000:]]
    return Run(False, seconds, "\n".join([f"status {done.returncode}: {lines[-1]}", *told, f"whole output: {output}"]))


def name_of(arguments: Sequence[str]) -> str:
    """What runs of this commit with these arguments are kept under; with changes in the tree never the same."""
    commit, changes = (
        subprocess.run(["git", *command], capture_output=True, text=True, check=True).stdout.strip()
        for command in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    )
    return f"{commit}-{crc32(' '.join(arguments).encode()):08x}" + (f"-changed-{time.time_ns()}" if changes else "")


def main(times: int, arguments: Sequence[str]) -> int:
    """Run what is missing of `times` runs and tell all; 0 when all passed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    name = name_of(arguments)
    kept = FOLDER / f"{name}.jsonl"
    runs = [Run(**json.loads(line)) for line in kept.read_text().splitlines()][:times] if kept.exists() else []
    for number, before in enumerate(runs, 1):
        print(f"run {number} of {times}, before: {before}", flush=True)
    with load():
        while len(runs) < times:
            runs.append(run(arguments, FOLDER / f"{name}-{len(runs) + 1}.txt"))
            with open(kept, "a") as file:
                file.write(json.dumps(asdict(runs[-1])) + "\n")
            print(f"run {len(runs)} of {times}: {runs[-1]}", flush=True)
    passed = sum(each.passed for each in runs)
    print(f"{passed} of {times} passed beside {CORES} busy loops; {kept}")
    return int(passed < times)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
