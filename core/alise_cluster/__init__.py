"""Talking to a Kubernetes API server: shared by the gateway's discovery and by the operator."""
