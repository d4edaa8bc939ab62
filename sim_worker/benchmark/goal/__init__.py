"""How often, and in how many motions, one wanted thing is got out of clutter."""
