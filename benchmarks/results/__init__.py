"""The referee's whole table: what every planner that ships achieves, protocol by protocol, as docs/results.md."""
