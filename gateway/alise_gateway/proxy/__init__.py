"""Stage proxy."""
