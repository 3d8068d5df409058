"""``alise bench queue``: what the queue's decisions cost, and that they keep the classes apart."""
