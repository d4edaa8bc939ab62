"""The command line: `grasploop COMMAND`, whose commands come from every installed distribution of GraspLoop."""
