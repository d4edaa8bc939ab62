"""What a network learns from an outcome: one task per network."""
