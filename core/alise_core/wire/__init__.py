"""Names and shapes that cross a process boundary, each written once."""
