"""`python -m sim_worker.benchmark`."""

import sys

from sim_worker.benchmark.command import main

if __name__ == "__main__":
    sys.exit(main())
