"""Stage 1: bytes from a client's socket become a validated request; replies become bytes."""
