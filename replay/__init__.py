"""The real world: production traces on real vLLM engines. Its rooms are not built yet."""
