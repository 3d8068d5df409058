"""A change of vLLM's arguments goes through a workload: one pod first, compared, then all."""
