"""The operator: reads custom resources, observes pools, decides, acts, and says so in status."""
