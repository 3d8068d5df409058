"""``alise demo``: the gateway in front of two engines under a bursty load of real prompts."""
