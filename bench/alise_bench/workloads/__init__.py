"""What a scheduling benchmark sends and when: traces, arrivals, prompts with recorded lengths."""
