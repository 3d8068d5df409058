"""Real vLLM servers for benchmarks and the demo: where they are, how they start, what they say."""
