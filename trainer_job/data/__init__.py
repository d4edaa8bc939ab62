"""Published data formats and our own shards, as arrays that a training recipe can draw batches from."""
