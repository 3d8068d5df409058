"""Stage discovery."""
