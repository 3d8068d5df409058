"""Several gateways in front of the same engines: what they give them together, and who waits."""
