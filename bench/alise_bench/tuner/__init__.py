"""The KV tuner over a simulated day: its own decisions against settings that never change."""
