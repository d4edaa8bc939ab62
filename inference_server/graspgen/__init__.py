"""GraspGen's protocol over ZeroMQ: its clients are answered by the planners of this server."""
