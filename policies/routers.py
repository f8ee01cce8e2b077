"""Baseline routers: each sends a request to one active engine that serves its model, and holds it only where there is none.

All but ``power-of-two`` and ``random`` break ties by the engines' order in the view. Scores are in the unit of the docstring.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from policies.decisions import Assign, Hold, Routing
from policies.prefixes import PrefixIndex
from policies.streams import Draws
from policies.types import EngineView, FleetView, RequestView

# Added to a whole-number score, so many times a count of requests decides between equal scores and nothing else.
_TIE_BREAK = 2.0**-20

# Draws kept for one request: tries that may hit an engine twice or another model's, then one for each choice still missing.
_MAX_CHOICES = 16
_TRIES = 32
_DRAWS = _TRIES + _MAX_CHOICES


class RoundRobin:
    """Takes the engines in turn, one turn per model and phase; the default of most load balancers.

    The turn is a position in the view: when engines join or leave, it goes on from the same position. Where prefill and decode are
    apart, each has its turn.
    """

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next: dict[tuple[str, bool], int] = {}

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = fleet.engines
        model = request.model
        phase = model, request.kv_engine is None
        count = len(engines)
        turn = self._next.get(phase, 0)
        for _ in range(count):
            engine = engines[turn % count]
            turn = turn % count + 1
            if engine.model == model:
                self._next[phase] = turn
                return Assign(engine.id, "next in turn")
        return _none_serves(model)


class Random:
    """Draws an engine uniformly; the draw depends on the seed and the request's id alone.

    Source: PolyServe's baselines PD-Random and CO-Random, arXiv 2507.17769.
    """

    __slots__ = ("_draw",)

    def __init__(self, *, seed: int) -> None:
        self._draw = Draws(seed, "router", "random")

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = fleet.engines
        drawn = _sample(self._draw, request, engines, 1)
        return Assign(engines[drawn[0]].id, "drawn at random") if drawn else _none_serves(request.model)


class PowerOfTwo:
    """Draws ``choices`` engines at random and takes the one with the fewest unfinished requests, the first drawn of equals.

    The draws depend on the seed and the request's id alone. O(choices), whatever the size of a fleet of one model.

    Args:
        choices: different engines drawn per request, 1 to 16.

    Source: Mitzenmacher, "The power of two choices in randomized load balancing", IEEE TPDS 12(10), 2001; Ray Serve's default.
    """

    __slots__ = ("_draw", "choices")

    def __init__(self, *, choices: int = 2, seed: int) -> None:
        if not 1 <= choices <= _MAX_CHOICES:
            raise ValueError(f"choices is {choices}; draw 1 to {_MAX_CHOICES} engines per request")
        self.choices = choices
        self._draw = Draws(seed, "router", "power-of-two")

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = fleet.engines
        drawn = _sample(self._draw, request, engines, self.choices)
        if not drawn:
            return _none_serves(request.model)
        scores = [inf] * len(engines)
        best = drawn[0]
        for i in drawn:
            engine = engines[i]
            scores[i] = engine.running_count + engine.waiting_count
            if scores[i] < scores[best]:
                best = i
        return Assign(engines[best].id, "fewest unfinished requests of those drawn", tuple(scores))


class LeastLoaded:
    """Takes the engine with the fewest unfinished requests, running and waiting."""

    __slots__ = ()

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = fleet.engines
        return _smallest(request, engines, _unfinished(request.model, engines), "fewest unfinished requests")


class VLLM:
    """Takes the engine with the smallest 4 × waiting + running requests: the balancer built into vLLM.

    Source: vLLM V1, ``DPLBAsyncMPClient.get_core_engine_for_request`` (vllm/v1/engine/core_client.py).
    """

    __slots__ = ()

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = fleet.engines
        model = request.model
        scores = [4 * e.waiting_count + e.running_count if e.model == model else inf for e in engines]
        return _smallest(request, engines, scores, "smallest 4 × waiting + running requests")


class JoinShortestQueue:
    """Joins the shortest queue, counted in pending prefill tokens; among equals the engine with the fewest running requests.

    Scores are tokens, plus 2⁻²⁰ per running request.
    """

    __slots__ = ()

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = fleet.engines
        model = request.model
        scores = [e.pending_prefill_tokens + e.running_count * _TIE_BREAK if e.model == model else inf for e in engines]
        return _smallest(request, engines, scores, "fewest pending prefill tokens")


class LMetric:
    """Takes the engine with the smallest product of prefill tokens and batch size, both as they would be with the request there.

    Score = (pending prefill tokens + prompt tokens − cached tokens) × (running + waiting requests + 1). The cached tokens are
    what the router's own prefix index says (``policies.prefixes``).

    Source: Zhang et al., "Simple is Better: Multiplication May Be All You Need for LLM Request Scheduling", OSDI '26,
    arXiv 2603.15202, §5.1 (P-token × BS, P-token with the queued prefill tokens).
    """

    __slots__ = ("_index",)

    def __init__(self) -> None:
        self._index = PrefixIndex()

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = fleet.engines
        model = request.model
        prompt = request.prompt_tokens
        hits = self._index.hits(request)
        if hits:
            hit = hits.get
            scores = [
                (e.pending_prefill_tokens + prompt - hit(e.id, 0)) * (e.running_count + e.waiting_count + 1)
                if e.model == model
                else inf
                for e in engines
            ]
        else:
            scores = [
                (e.pending_prefill_tokens + prompt) * (e.running_count + e.waiting_count + 1) if e.model == model else inf
                for e in engines
            ]
        return _smallest(request, engines, scores, "smallest prefill tokens × batch size", self._index)


class PrefixAffinity:
    """Takes the engine that was sent the longest part of the prompt's prefix, unless overloaded; without one, the least loaded.

    An engine is overloaded when its unfinished requests exceed both ``overload`` × the mean over the model's engines and the mean
    plus ``slack``. Equal matches go to the engine with fewer unfinished requests. What was sent where is the router's own,
    approximate index (``policies.prefixes``). Scores are prompt tokens to compute (plus 2⁻²⁰ per unfinished request) where a match
    decided, unfinished requests where none did.

    Args:
        min_match: share of the prompt that must match for the match to decide.
        overload: unfinished requests of an overloaded engine, in multiples of the mean.
        slack: unfinished requests above the mean that never make an engine overloaded.

    Source: Preble, arXiv 2407.00023 (a match of at least half decides); SGLang's cache-aware router; llm-d's approximate prefix
    scorer.
    """

    __slots__ = ("_index", "min_match", "overload", "slack")

    def __init__(self, *, min_match: float = 0.5, overload: float = 1.5, slack: int = 8) -> None:
        if not 0 <= min_match <= 1:
            raise ValueError(f"min_match is {min_match}; it is a share of the prompt, from 0 to 1")
        if not overload >= 1:
            raise ValueError(f"overload is {overload}; it is a multiple of the mean load, at least 1")
        if slack < 0:
            raise ValueError(f"slack is {slack}; it is a number of requests, at least 0")
        self.min_match = min_match
        self.overload = overload
        self.slack = slack
        self._index = PrefixIndex()

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        engines = fleet.engines
        loads = _unfinished(request.model, engines)
        hits = self._index.hits(request)
        if hits:
            prompt = request.prompt_tokens
            serving = [load for load in loads if load != inf]
            mean = sum(serving) / max(1, len(serving))
            limit = max(self.overload * mean, mean + self.slack)
            enough = max(1, self.min_match * prompt)
            scores = [
                prompt - hit + load * _TIE_BREAK if load <= limit and (hit := hits.get(e.id, 0)) >= enough else inf
                for e, load in zip(engines, loads, strict=True)
            ]
            if min(scores, default=inf) != inf:
                return _smallest(request, engines, scores, "longest prefix match", self._index)
        return _smallest(request, engines, loads, "fewest unfinished requests, no usable prefix match", self._index)


# --- what they share --------------------------------------------------------------------------------------------------


def _sample(draw: Draws, request: RequestView, engines: Sequence[EngineView], choices: int) -> list[int]:
    """The positions of ``choices`` different engines that serve the request's model, or of all where they are fewer, at random."""
    model = request.model
    count = len(engines)
    first = request.id * _DRAWS
    drawn: list[int] = []
    if count > choices:  # otherwise all of them are taken, in random order
        for counter in range(first, first + _TRIES):
            i = int(draw(counter) * count)
            if engines[i].model == model and i not in drawn:
                drawn.append(i)
                if len(drawn) == choices:
                    return drawn
    rest = [i for i, e in enumerate(engines) if e.model == model and i not in drawn]
    while rest and len(drawn) < choices:
        drawn.append(rest.pop(int(draw(first + _TRIES + len(drawn)) * len(rest))))
    return drawn


def _unfinished(model: str, engines: Sequence[EngineView]) -> list[float]:
    """Running and waiting requests per engine; ``inf`` where another model is served."""
    return [e.running_count + e.waiting_count if e.model == model else inf for e in engines]


def _smallest(
    request: RequestView, engines: Sequence[EngineView], scores: list[float], reason: str, index: PrefixIndex | None = None
) -> Routing:
    """Assign to the first engine with the smallest score, and note the prompt's prefix there; hold where no score is finite."""
    best = min(scores, default=inf)
    if best == inf:
        return _none_serves(request.model)
    engine = engines[scores.index(best)]
    if index is not None:
        index.record(request, engine, engines)
    return Assign(engine.id, reason, tuple(scores))


def _none_serves(model: str) -> Hold:
    return Hold(f"no active engine serves {model or 'the model'}")
