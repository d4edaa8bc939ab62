"""One bounded, fair queue and the inference thread that answers it in batches."""
