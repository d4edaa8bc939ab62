"""`python -m sim_worker.collect`."""

import sys

from sim_worker.collect.command import main

if __name__ == "__main__":
    sys.exit(main())
