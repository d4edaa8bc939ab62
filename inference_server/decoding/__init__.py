"""From bytes to observations and options: bodies, forms, and tensors of the Open Inference Protocol."""
