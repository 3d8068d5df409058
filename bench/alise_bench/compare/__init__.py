"""``alise bench compare``: baselines and orderings on one and the same trace."""
