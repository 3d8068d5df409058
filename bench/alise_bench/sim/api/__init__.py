"""The HTTP shapes of the simulated engine: bodies in, replies and stream events out. No I/O."""
