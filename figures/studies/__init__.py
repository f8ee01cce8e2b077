"""Sweeps and searches in a terminal: a live table on stderr while they run, and what they found on stdout."""
