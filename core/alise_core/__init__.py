"""Vocabulary and wire contracts that every ALISE process shares; no I/O happens here."""
