"""Stage placement."""
