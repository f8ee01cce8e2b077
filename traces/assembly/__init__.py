"""From operator times to fingerprints."""
