"""Stage 4: a dispatched request travels to its backend and the answer travels back."""
