"""Stage queueing."""
