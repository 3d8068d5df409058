"""Stage 3: which backend serves a request; pure."""
