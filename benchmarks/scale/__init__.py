"""Many simulated workers with recorded outcomes, against a real queue, ingest and server."""
