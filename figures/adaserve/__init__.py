"""AdaServe's figures over the paper's curves, its ablations, and what lies beyond the paper."""
