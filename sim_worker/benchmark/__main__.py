"""`python -m sim_worker.benchmark`."""

import sys

from sim_worker.benchmark.command import BenchmarkSettings, main
from sim_worker.command_line import settings_of

if __name__ == "__main__":
    sys.exit(main(settings_of(BenchmarkSettings)))
