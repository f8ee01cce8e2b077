"""PolyServe on a fleet whose size is fixed: engines are dealt out to tiers in proportion to demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from math import floor

from policies.decisions import Change, Move, Scale
from policies.latency import LatencyModel
from policies.polyserve.lengths import OutputLengths
from policies.polyserve.optimal import EngineRoom, Lengths, costs_s
from policies.polyserve.tiers import BEST_EFFORT, budget_s, tier_of
from policies.types import Completed, EngineState, EngineView, FleetView, RequestView, Role

_UP = (EngineState.ACTIVE, EngineState.STARTING)


@dataclass(slots=True)
class _Seen:
    """Of one tier in one round: requests that came, and the tokens that they bring and are expected to get."""

    requests: int = 0
    prompt: float = 0.0
    output: float = 0.0

    def add(self, request: RequestView | Completed, expected: float) -> None:
        self.requests += 1
        self.prompt += request.prompt_tokens
        self.output += expected


class Fixed:
    """Deals all engines out to the tiers that have requests; none is parked. Each model's decoding engines by themselves.

    Demand of a tier = rate × (prompt / prefill tokens per second + output · TPOT / largest batch at that TPOT), smoothed over
    rounds by a factor of a half. A tier that was seen has one engine at least, as long as there are enough; the rest goes by
    largest remainder. A new deal is carried out when two rounds in a row agree on it, and at once for a tier that has requests and
    no engine, which gets one from the tier with the most. Engines that change hands are the emptiest of their tier.

    Rates are counted from the requests that are seen every ``sample_s`` and those that have completed meanwhile; how long answers
    will be is learned from the latter (``policies.polyserve.lengths``).

    Args:
        period_s: length of a round, in seconds.
        sample_s: time between two looks at the requests, in seconds.

    Source: the fixed-fleet variant of PolyServe's port to vLLM (EWMA of 0.5, largest remainder, two rounds that agree).
    """

    __slots__ = ("_agreed", "_demand", "_last_s", "_lengths", "_proposed", "_round_ends_s", "_seen", "period_s", "sample_s")

    def __init__(self, *, period_s: float = 10.0, sample_s: float = 1.0) -> None:
        for name, value in (("period_s", period_s), ("sample_s", sample_s)):
            if value <= 0:
                raise ValueError(f"{name} is {value:g}; it must be more than 0")
        self.period_s = period_s
        self.sample_s = sample_s
        self._round_ends_s = 0.0
        self._last_s = -1.0
        self._lengths = OutputLengths()
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._demand: dict[tuple[str, str], float] = {}
        self._proposed: dict[str, dict[str, int]] = {}
        self._agreed: dict[str, dict[str, int]] = {}

    def scale(self, fleet: FleetView) -> Scale:
        now = fleet.now_s
        engines: dict[str, list[EngineView]] = {}
        for engine in fleet.members:
            if engine.role is not Role.PREFILL and engine.state in _UP:
                engines.setdefault(engine.model, []).append(engine)
        completed = fleet.completed
        self._lengths.learn(completed)
        self._look(chain(completed, fleet.held, *(chain(e.running, e.waiting) for each in engines.values() for e in each)))
        self._last_s = now
        changes: list[Change] = []
        if now >= self._round_ends_s:
            self._end_round(engines)
            self._round_ends_s = now + self.period_s
            for model, members in engines.items():
                changes += self._deal(members, self._agreed.get(model, {}))
        if not changes:
            changes += self._rescue(engines, fleet)
        return Scale(tuple(changes), next_at_s=now + self.sample_s, on_hold=True, reason="demand by tier")

    def _look(self, requests: Iterable[RequestView | Completed]) -> None:
        for request in requests:
            if request.arrival_s > self._last_s:
                self._seen.setdefault((request.model, tier_of(request.slo)), _Seen()).add(request, self._lengths.expected(request))

    def _end_round(self, engines: dict[str, list[EngineView]]) -> None:
        for group in {*self._seen, *self._demand}:
            model, tier = group
            if model not in engines:
                continue
            seen = self._seen.get(group, _Seen())
            now = seen.requests / self.period_s * _cost_s(engines[model][0], tier, seen) if seen.requests else 0.0
            before = self._demand.get(group)
            self._demand[group] = now if before is None else 0.5 * (before + now)
        self._seen = {}
        for model, members in engines.items():
            demand = {tier: self._demand[m, tier] for m, tier in sorted(self._demand) if m == model}
            proposal = apportion(demand, len(members))
            if proposal == self._proposed.get(model) or model not in self._agreed:
                self._agreed[model] = proposal
            self._proposed[model] = proposal

    def _deal(self, engines: list[EngineView], shares: dict[str, int]) -> list[Change]:
        """Moves from tiers with too many engines, and from none, to those with too few."""
        there = Counter(engine.tier for engine in engines)
        wanting = [tier for tier, count in shares.items() for _ in range(count - there[tier])]
        spare: list[EngineView] = []
        for tier, count in there.items():
            extra = count - (0 if tier is None else shares.get(tier, 0))
            spare += sorted((e for e in engines if e.tier == tier), key=_load)[: max(0, extra)]
        spare.sort(key=_load)
        return [Move(e.id, f"{shares[tier]} engines for {tier}", tier) for e, tier in zip(spare, wanting, strict=False)]

    def _rescue(self, engines: dict[str, list[EngineView]], fleet: FleetView) -> list[Change]:
        """An engine for every tier that has requests in the router, and none of its own nor one of no tier."""
        changes: list[Change] = []
        for model, members in engines.items():
            there = Counter(engine.tier for engine in members)
            if there[None]:
                continue
            for tier in sorted({tier_of(r.slo) for r in fleet.held if r.model == model}, key=budget_s):
                richest = max(there, key=lambda t: there[t], default=None)
                if there[tier] or richest is None or there[richest] < 2:
                    continue
                engine = min((e for e in members if e.tier == richest), key=_load)
                there[richest] -= 1
                there[tier] += 1
                changes.append(Move(engine.id, f"{tier} has no engine, {richest} has the most", tier))
        return changes


def apportion(demand: dict[str, float], engines: int) -> dict[str, int]:
    """Engines per tier: one each, the largest demands first, and the rest in proportion, by largest remainder."""
    tiers = sorted((tier for tier, need in demand.items() if need > 0), key=lambda tier: (-demand[tier], tier))[:engines]
    total = sum(demand[tier] for tier in tiers)
    if not tiers or total == 0:
        return {}
    exact = {tier: engines * demand[tier] / total for tier in tiers}
    shares = {tier: max(1, floor(exact[tier])) for tier in tiers}
    while sum(shares.values()) > engines:
        most = max((tier for tier in tiers if shares[tier] > 1), key=lambda tier: shares[tier] - exact[tier])
        shares[most] -= 1
    for tier in sorted(tiers, key=lambda tier: (shares[tier] - exact[tier], tier))[: engines - sum(shares.values())]:
        shares[tier] += 1
    return shares


def _cost_s(engine: EngineView, tier: str, seen: _Seen) -> float:
    """Engine-seconds of one request of a tier."""
    prompt, output = seen.prompt / seen.requests, seen.output / seen.requests
    room = EngineRoom(engine.max_seqs, engine.max_batched_tokens, engine.kv_tokens_capacity)
    latency: LatencyModel = engine.latency
    budget = 0.2 if tier == BEST_EFFORT else budget_s(tier)
    prefill, decode = costs_s(latency, room, Lengths(prompt, output, prompt + output / 2, prompt / 2), budget)
    return prefill + min(decode, output * budget)


def _load(engine: EngineView) -> int:
    return engine.running_count + engine.waiting_count
