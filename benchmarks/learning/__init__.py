"""How the loop learns, measured through its real services and replayable from seeds."""
