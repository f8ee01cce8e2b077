"""The real world: the scenario that ``sim`` simulates, on vLLM's engines, under the same policy objects, into the same record."""
