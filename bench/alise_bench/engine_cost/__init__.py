"""``alise bench engine-order``: what the engine plugin's order costs a step of the engine."""
