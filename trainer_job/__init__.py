"""The trainer: takes outcomes in, trains the next version of a network, judges it and publishes it."""
