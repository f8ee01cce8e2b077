"""Routers that PolyServe is compared with: load balancing that knows no tiers."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from policies.decisions import Assign, Hold, Routing
from policies.latency import StepShape, decoding
from policies.types import EngineView, FleetView, RequestView, Role


class Minimal:
    """Takes the engine whose next step would be the shortest with the request there, as its latency model has it.

    On an engine that decodes, the step decodes all of its requests and this one, over the KV that there is and is to come; on a
    prefill engine it is the time of all prefill that is pending and of the request's own.

    Source: PolyServe's baselines PD-Minimal, CO-Minimal and CO-Chunk (arXiv 2507.17769, §5), "least load": the smallest predicted
    cycle time.
    """

    __slots__ = ()

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        model, prompt = request.model, request.prompt_tokens
        scores = [_cycle_s(engine, prompt) if engine.model == model else inf for engine in fleet.engines]
        return _smallest(fleet.engines, scores, model, "shortest predicted step")


def _cycle_s(engine: EngineView, prompt: int) -> float:
    if engine.role is Role.PREFILL:
        tokens, whole = engine.pending_prefill_tokens + prompt, engine.max_batched_tokens
        return engine.latency.seconds(StepShape(whole, whole * whole / 2, 1)) * tokens / whole
    context = engine.kv_tokens_used + engine.pending_prefill_tokens + prompt
    return decoding(engine.latency, engine.running_count + engine.waiting_count + 1, context)


class Llumnix:
    """Takes the engine with the most free KV memory per request, what waits counted as if it had its memory already.

    Freeness = (capacity − virtual usage) / batch size, virtual usage being the KV in use and, of those that wait, what their
    prompts will need: Llumnix's dispatch rule. Its other half, moving requests between engines live, is not what a router can do.

    Source: Sun et al., Llumnix, OSDI '24, arXiv 2406.03243, §4.4.
    """

    __slots__ = ()

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        model = request.model
        scores = [-_freeness(engine) if engine.model == model else inf for engine in fleet.engines]
        return _smallest(fleet.engines, scores, model, "most free KV memory per request")


def _freeness(engine: EngineView) -> float:
    usage = engine.kv_tokens_used + engine.pending_prefill_tokens
    return (engine.kv_tokens_capacity - usage) / max(1, engine.running_count + engine.waiting_count)


def _smallest(engines: Sequence[EngineView], scores: list[float], model: str, reason: str) -> Routing:
    best = min(scores, default=inf)
    if best == inf:
        return Hold(f"no active engine serves {model or 'the model'}")
    return Assign(engines[scores.index(best)].id, reason, tuple(scores))
