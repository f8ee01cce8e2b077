"""SCOOT: tuning of engine knobs to a service's objectives by Bayesian optimisation (arXiv 2408.04323, WWW '25)."""
