"""What one prediction costs: time per call of either tier and of learning, and memory."""
