"""PolyServe's router: a load gradient within each tier, promotion only when the own tier is full (arXiv 2507.17769, §4.3)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import inf
from typing import Literal

from policies.decisions import Assign, Hold, Routing
from policies.polyserve.admission import Admission, Projection
from policies.polyserve.gradient import Gradients, load
from policies.polyserve.lengths import OutputLengths
from policies.polyserve.tiers import budget_s, tier_of
from policies.types import EngineView, FleetView, RequestView, Role


class PolyServe:
    """Places a request on the most loaded engine of its tier that still attains its objectives.

    The ladder: (1) the engines of the request's own tier, then those of no tier, the fullest first, judged with the request's own
    budget, and one of no tier with the tightest that it was given since it was last empty; (2) lazy promotion, only if all of those
    refuse: the engines of tighter tiers, the tightest first, judged with the host's budget; (3) else the request waits in the
    router, one queue per tier, where the scaler sees it. Nothing is shed: overload shows as missed objectives. A request whose TTFT
    has passed in the queue is placed as if it had none, since nothing can save it and its tokens are still wanted (open in the
    paper); and an empty engine takes whoever comes.

    Engines are ordered by unfinished requests: the paper leaves the load undefined. One that refuses for want of TPOT or memory,
    and would refuse a request without a prompt too, is not asked again until a request has left it.

    Where prefill and decode are apart, the ladder places the decode; the prefill goes to the fullest prefill engine that makes the
    TTFT, and leaves the decode engine the time to take over, else to the one with the least to do.

    How long an answer will be is learned per tier from those that are complete (``policies.polyserve.lengths``).

    Args:
        projection: how a batch's KV peak is foreseen, ``bound`` or ``simulate`` (``policies.polyserve.admission``).
        promotion: whether requests may go to tighter tiers.
        hosts: which of the tighter tiers is asked first, the ``tightest`` (as in PolyServe's port to vLLM) or the ``loosest``.
        reserve: share of the TTFT objective that predicted times to the first token must leave over. 0 where predictions are exact,
            as in the paper. Steps vary, and dynamic chunking fills them to the budget: whose first token comes just in time has
            nothing left for a step that takes a little longer.

    Source: PolyServe, arXiv 2507.17769, §4.
    """

    __slots__ = ("_admission", "_given", "_gradients", "_lengths", "hosts", "promotion")

    def __init__(
        self,
        *,
        projection: Projection = "bound",
        promotion: bool = True,
        hosts: Literal["tightest", "loosest"] = "tightest",
        reserve: float = 0.05,
    ) -> None:
        if hosts not in ("tightest", "loosest"):
            raise ValueError(f"hosts is {hosts!r}; choose tightest or loosest")
        self._lengths = OutputLengths()
        self._admission = Admission(projection=projection, reserve=reserve, expected=self._lengths.expected)
        self.promotion = promotion
        self.hosts = hosts
        self._given: dict[str, float] = {}
        """The tightest budgets that engines of no tier have been given, by id."""
        self._gradients = {False: Gradients(), True: Gradients()}
        """By whether the prefill is done: the fleet shows other engines then."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        self._lengths.learn(fleet.completed)
        engines = fleet.engines
        gradients = self._gradients[request.kv_engine is not None]
        gradients.see(engines)
        if gradients.prefill_apart:
            return self._prefill(request, engines)
        return self._decode(request, gradients, fleet.now_s)

    def _prefill(self, request: RequestView, engines: Sequence[EngineView]) -> Routing:
        """By bisection: the more is pending on an engine, the later it has the first token."""
        judge, model = self._admission.prefill, request.model
        order = sorted((e.pending_prefill_tokens, place) for place, e in enumerate(engines) if e.model == model)
        if not order:
            return Hold(f"no active engine serves {model}")
        in_time = bisect_left(order, True, key=lambda entry: bool(judge(request, engines[entry[1]]).refused))
        if in_time:
            return Assign(engines[order[in_time - 1][1]].id, "fullest prefill engine that makes the TTFT")
        return Assign(engines[order[0][1]].id, "no prefill engine makes the TTFT: the one with the least pending")

    def _decode(self, request: RequestView, gradients: Gradients, now_s: float) -> Routing:
        own, ttft = tier_of(request.slo), request.slo.ttft_s
        budget = budget_s(own)
        late = ttft is not None and now_s - request.arrival_s > ttft
        for tier in (own, None):
            found = self._fullest(request, gradients, tier, budget, late)
            if found is not None:
                if found.tier is None:
                    self._given[found.id] = self._kept(found, budget)
                return Assign(found.id, f"fullest engine of {own} that attains the objectives")
        if self.promotion:
            tighter = gradients.tighter(request.model, budget)
            for host_budget, host in tighter if self.hosts == "tightest" else reversed(tighter):
                found = self._fullest(request, gradients, host, host_budget, late)
                if found is not None:
                    return Assign(found.id, f"promoted to {host}: {own} is full")
        return Hold(f"no engine of {own} or tighter attains the objectives", queue=own)

    def _fullest(
        self, request: RequestView, gradients: Gradients, tier: str | None, budget: float, late: bool
    ) -> EngineView | None:
        judge = self._admission.decode

        def takes(engine: EngineView) -> bool | None:
            verdict = judge(request, engine, self._kept(engine, budget), prefill=engine.role is not Role.DECODE, timely=not late)
            if not verdict.refused:
                return True
            if not load(engine):  # who is refused by an empty engine would wait forever
                return True
            return None if verdict.full else False

        return gradients.fullest(request.model, tier, takes)

    def _kept(self, engine: EngineView, budget: float) -> float:
        """What the engine's steps must keep with one more request of that budget."""
        if engine.tier is not None or not load(engine):
            return budget
        return min(budget, self._given.get(engine.id, inf))
