"""The edge gateway: OpenAI-compatible HTTP in, the best backend's answer out."""
