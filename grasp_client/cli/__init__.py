"""The command line: `python -m grasp_client IMAGE`."""
