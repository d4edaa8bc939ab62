"""`make bench`: every benchmark, one after the other; each also runs alone, `python -m benchmarks.<name> --help`."""

from __future__ import annotations

import subprocess
import sys

NAMES = ("simulation", "agreement", "networks", "policy", "planners", "serving")

if __name__ == "__main__":
    failed = [name for name in NAMES if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
