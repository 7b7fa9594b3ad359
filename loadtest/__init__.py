"""Load tests and benchmarks of the broker, driven from outside like any client."""
