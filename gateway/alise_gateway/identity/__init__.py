"""Stage identity."""
