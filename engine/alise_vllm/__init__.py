"""What runs inside vLLM; nothing here is loaded unless a server is started with it."""
