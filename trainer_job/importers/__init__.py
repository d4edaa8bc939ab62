"""Published weights of other systems, read offline."""
