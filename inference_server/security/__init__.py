"""Who may ask, and how much: keys, limits, and what surrounds every request."""
