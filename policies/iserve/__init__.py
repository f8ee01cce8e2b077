"""iServe / MaverIQ: from an intent and fingerprints to a deployment (arXiv 2501.13111)."""
