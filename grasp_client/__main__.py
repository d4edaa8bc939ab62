"""`python -m grasp_client IMAGE`: the command `grasploop predict`."""

import sys

from grasp_client.cli.predict import main

if __name__ == "__main__":
    sys.exit(main())
