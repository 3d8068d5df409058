"""A tier of the KV cache in host memory: what the device drops is kept, packed, and loaded back."""
