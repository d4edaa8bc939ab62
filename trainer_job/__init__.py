"""The trainer: takes outcomes in, trains the next version of a network, tests it and publishes it."""
