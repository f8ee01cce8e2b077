"""What is written down: workloads, scenarios, fingerprints, run records, and every metric (computed from records only)."""
