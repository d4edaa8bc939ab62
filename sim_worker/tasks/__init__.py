"""What a worker does with a scene, each task a generator that yields what it needs and what happened."""
