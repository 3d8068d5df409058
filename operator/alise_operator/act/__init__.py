"""What the operator writes to the cluster: statuses and Events, and nothing else."""
