"""Bundled data: real prompts with the output lengths that real models gave them."""
