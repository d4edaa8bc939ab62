"""`python -m sim_worker.collect`."""

import sys

from sim_worker.collect.command import CollectSettings, main
from sim_worker.command_line import settings_of

if __name__ == "__main__":
    sys.exit(main(settings_of(CollectSettings)))
