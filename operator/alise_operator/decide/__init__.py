"""What statuses ought to say: pure functions from objects and observations."""
