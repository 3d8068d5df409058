"""Stage intake."""
