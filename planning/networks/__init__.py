"""From a version in the registry to a network that may serve: device, precision, checks."""
