"""How good a network is on held-out data: metrics, intervals, pictures."""
