"""How full an engine is."""

from policies.types import EngineView


def fullness(engine: EngineView) -> float:
    """Requests per seat."""
    return (engine.running_count + engine.waiting_count) / engine.max_seqs
