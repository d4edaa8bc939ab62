"""Which version serves: offline gate, A/B test, rollback, and the registry's pointers."""
