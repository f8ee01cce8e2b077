"""The simulated world: a SimPy cluster of engines that schedule as vLLM V1 does."""
