"""Two commits side by side: the same requests to a server of each, for answers (`benchmarks.same_answers`) and for time."""
