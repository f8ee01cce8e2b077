"""Tuning: a study asks a sampler for engine configurations, tries each in the simulator or on vLLM, and tells what came of it.

The decisions are ``policies.scoot``'s. Here is the rest: what a configuration means for a scenario, what is measured of it, the
two worlds as black boxes in which a crash is a result, and the study that survives being killed.
"""
