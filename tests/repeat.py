"""Runs the tests again and again beside a load on two cores, and says of each run whether it passed.

python -m tests.repeat 10 -n auto      # ten runs; what follows the number is for pytest (`make test-repeat N=10`)
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

CORES = 2
BUSY = "while True: pass"


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


def run(arguments: Sequence[str]) -> tuple[bool, str]:
    """Whether one run passed, and what it said: its last line, and the tests that failed or the end of its output."""
    done = subprocess.run([sys.executable, "-m", "pytest", *arguments], capture_output=True, text=True)
    lines = done.stdout.rstrip().splitlines() or [""]
    if done.returncode == 0:
        return True, lines[-1]
    failed = [line for line in lines if re.match("FAILED|ERROR", line)]
    return False, "\n".join([f"status {done.returncode}: {lines[-1]}", *(failed or [*lines[-20:], done.stderr[-2000:]])])


def main(times: int, arguments: Sequence[str]) -> int:
    passed = 0
    with load():
        for number in range(1, times + 1):
            started = time.monotonic()
            good, said = run(arguments)
            passed += good
            print(
                f"run {number} of {times}: {'passed' if good else 'FAILED'} in {time.monotonic() - started:.0f} s: {said}",
                flush=True,
            )
    print(f"{passed} of {times} passed beside {CORES} busy loops")
    return int(passed < times)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
