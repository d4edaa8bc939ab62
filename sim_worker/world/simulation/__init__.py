"""Physics, scenes and what stands in them."""
