"""How many hands a request and an outcome pass through."""
