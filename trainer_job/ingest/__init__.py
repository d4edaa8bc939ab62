"""From the queue to the disk, exactly once."""
