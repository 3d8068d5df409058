"""What a proxy in front of an engine costs: ours and its peers, measured in one run."""
