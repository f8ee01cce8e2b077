"""PolyServe's router: a load gradient within each tier, promotion only when the own tier is full (arXiv 2507.17769, §4.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from policies.polyserve.admission import Admission, Projection
from policies.polyserve.tiers import budget_s, tier_of
from policies.types import Assign, EngineView, FleetView, Hold, RequestView, Role, Routing


class PolyServe:
    """Places a request on the most loaded engine of its tier that still attains its objectives.

    The ladder: (1) the engines of the request's own tier and those of no tier, the fullest first, judged with the request's own
    budget; (2) lazy promotion, only if all of those refuse: the engines of tighter tiers, the tightest first, judged with the
    host's budget; (3) else the request waits in the router, one queue per tier, where the scaler sees it. Nothing is shed:
    overload shows as missed objectives. A request whose TTFT has passed in the queue is placed as if it had none, since nothing
    can save it and its tokens are still wanted (open in the paper); and an empty engine takes whoever comes.

    Where prefill and decode are apart, the ladder places the decode; the prefill goes to the fullest prefill engine that makes the
    TTFT, else to the one that makes the earliest.

    Engines are ordered by unfinished requests, then by KV in use: the paper leaves the load undefined.

    Args:
        projection: how a batch's KV peak is foreseen, ``simulate`` or ``bound`` (``policies.polyserve.admission``).
        promotion: whether requests may go to tighter tiers.

    Source: PolyServe, arXiv 2507.17769, §4.
    """

    __slots__ = ("_admission", "promotion")

    def __init__(self, *, projection: Projection = "simulate", promotion: bool = True) -> None:
        self._admission = Admission(projection=projection)
        self.promotion = promotion

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        serving = [engine for engine in fleet.engines if engine.model == request.model]
        if serving and serving[0].role is not Role.DECODE and any(e.role is Role.PREFILL for e in serving):
            return self._prefill(request, serving)
        return self._decode(request, serving, fleet.now_s)

    def _prefill(self, request: RequestView, engines: Sequence[EngineView]) -> Routing:
        verdicts = [self._admission.prefill(request, engine) for engine in engines]
        fitting = [(e.pending_prefill_tokens, -i) for i, e in enumerate(engines) if not verdicts[i].refused]
        if fitting:
            return Assign(engines[-max(fitting)[1]].id, "fullest prefill engine that makes the TTFT")
        earliest = min(range(len(engines)), key=lambda i: verdicts[i].ttft_s)
        scores = tuple(verdict.ttft_s for verdict in verdicts)
        return Assign(engines[earliest].id, "no prefill engine makes the TTFT: the earliest", scores)

    def _decode(self, request: RequestView, engines: Sequence[EngineView], now_s: float) -> Routing:
        own = tier_of(request.slo)
        own_budget = budget_s(own)
        tiers: dict[str, list[EngineView]] = {}
        for engine in engines:
            tiers.setdefault(engine.tier or own, []).append(engine)
        late = request.slo.ttft_s is not None and now_s - request.arrival_s > request.slo.ttft_s
        found = self._fullest(request, tiers.get(own, ()), own_budget, late)
        if found is not None:
            return Assign(found.id, f"fullest engine of {own} that attains the objectives")
        if self.promotion:
            for host in sorted((t for t in tiers if budget_s(t) < own_budget), key=budget_s):
                found = self._fullest(request, tiers[host], budget_s(host), late)
                if found is not None:
                    return Assign(found.id, f"promoted to {host}: {own} is full")
        return Hold(f"no engine of {own} or tighter attains the objectives", queue=own)

    def _fullest(self, request: RequestView, engines: Iterable[EngineView], budget: float, late: bool) -> EngineView | None:
        fullest_first = sorted(engines, key=lambda e: (-e.running_count - e.waiting_count, -e.kv_tokens_used))
        for engine in fullest_first:
            prefill = engine.role is not Role.DECODE
            verdict = self._admission.decode(request, engine, budget, prefill=prefill)
            if not verdict.refused or (late and verdict.refused in ("ttft", "second token") and verdict.iter_max_s < inf):
                return engine
            if not engine.running_count and not engine.waiting_count:  # who is refused by an empty engine would wait forever
                return engine
        return None
