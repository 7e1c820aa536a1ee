"""How fast the suite is, each figure against a named peer in the same run: `python -m tests.performance`."""
