"""HTML pages: of a run, a comparison, a sweep. Each is one file that needs nothing from elsewhere, and works without its script."""
