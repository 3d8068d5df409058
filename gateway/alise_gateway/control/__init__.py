"""Stage control."""
