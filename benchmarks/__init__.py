"""Speed of the simulator, measured side by side with public peers on one workload."""
