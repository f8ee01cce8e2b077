"""Which candidate serves an intent best, or why none does.

The goal ranks, limits are hard. Where no candidate keeps all limits, the answer says which of them binds and what would satisfy it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from policies.intent import Goal, Intent
from policies.iserve.candidate import Candidate, Estimate

_SCORE: dict[Goal, Callable[[Candidate], float]] = {
    "min_latency": lambda c: c.latency_s.value,
    "min_cost": lambda c: float("inf") if c.usd_per_mtok is None else c.usd_per_mtok.value,
    "min_memory": lambda c: c.replicas * c.memory_bytes.value,
    "min_gpu_time": lambda c: c.latency_s.value * c.gpus,
    "min_memory_time": lambda c: c.latency_s.value * c.memory_bytes.value,
}


def score_of(candidate: Candidate, intent: Intent) -> float:
    """What the intent's goal wants to be least."""
    return _SCORE[intent.goal](candidate)


class Impossible(ValueError):
    """No candidate keeps every limit; the text says which binds, and what would satisfy the intent."""


@dataclass(frozen=True, slots=True)
class _Limit:
    """One limit: ``excess`` says by which factor a candidate breaks it (≤ 1: it keeps it), ``nearest`` what it would have to be."""

    name: str
    asked: str
    excess: Callable[[Candidate], float]
    reached: Callable[[Candidate], str]

    def kept_by(self, candidate: Candidate) -> bool:
        return self.excess(candidate) <= 1.0


def ranked(candidates: Sequence[Candidate], intent: Intent) -> list[Candidate]:
    """The candidates that keep all limits, best first; ties by GPUs, then by configuration.

    Raises:
        Impossible: none does, or there is none.
    """
    if not candidates:
        raise Impossible("no configuration fits the memory of the GPUs there are; offer more or larger GPUs, or lower precisions")
    limits = list(_limits(intent))
    kept = [c for c in candidates if all(limit.kept_by(c) for limit in limits)]
    if not kept:
        raise Impossible(_explained(candidates, limits))
    return sorted(kept, key=lambda c: (score_of(c, intent), c.gpus, c.configuration))


def keeps(candidate: Candidate, intent: Intent) -> bool:
    """Whether the candidate keeps every limit."""
    return all(limit.kept_by(candidate) for limit in _limits(intent))


def best(candidates: Sequence[Candidate], intent: Intent) -> Candidate:
    """The first of ``ranked``.

    Raises:
        Impossible: as there.
    """
    return ranked(candidates, intent)[0]


def _limits(intent: Intent) -> Iterator[_Limit]:
    if intent.accuracy is not None:
        yield _accuracy(intent.accuracy)
    if intent.latency_s is not None:
        yield _at_most("latency", intent.latency_s, lambda c: c.latency_s, _seconds, intent)
    if intent.ttft_s is not None:
        yield _at_most("TTFT", intent.ttft_s, lambda c: c.ttft_s, _seconds, intent)
    if intent.tpot_s is not None:
        yield _at_most("TPOT", intent.tpot_s, lambda c: c.tpot_s, _seconds, intent)
    if intent.usd_per_mtok is not None:
        yield _at_most("cost", intent.usd_per_mtok, lambda c: c.usd_per_mtok, lambda x: f"${x:.3g}/Mtok", intent)


def _accuracy(floor: float) -> _Limit:
    return _Limit(
        "accuracy",
        f"at least {floor:.2%} of 16 bits",
        lambda c: float("inf") if c.accuracy is None else floor / c.accuracy,
        lambda c: "unknown" if c.accuracy is None else f"{c.accuracy:.2%}",
    )


def _at_most(
    name: str, most: float, of: Callable[[Candidate], Estimate | None], written: Callable[[float], str], intent: Intent
) -> _Limit:
    def value(candidate: Candidate) -> float:
        estimate = of(candidate)
        return float("inf") if estimate is None else estimate.high if intent.cautious else estimate.value

    return _Limit(name, f"at most {written(most)}", lambda c: value(c) / most, lambda c: written(_rounded_up(value(c))))


def _rounded_up(value: float) -> float:
    """To three digits, so that who asks for what is printed gets it."""
    if value in (0.0, float("inf")):
        return value
    digit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return math.ceil(value / digit - 1e-9) * digit


def _seconds(value: float) -> str:
    return "none in reach" if value == float("inf") else f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def _explained(candidates: Sequence[Candidate], limits: Sequence[_Limit]) -> str:
    """Which limit binds: for each one, the best that can be had of it while all others are kept."""
    said = []
    for limit in limits:
        others = [c for c in candidates if all(o.kept_by(c) for o in limits if o is not limit)]
        if others:
            nearest = min(others, key=lambda c: (limit.excess(c), c.configuration))
            if limit.excess(nearest) < float("inf"):
                said.append(f"{limit.name} {limit.reached(nearest)} ({nearest.configuration})")
    asked = ", ".join(f"{limit.name} {limit.asked}" for limit in limits)
    if said:
        return f"no configuration keeps {asked}; it would take {', or '.join(said)}"
    alone = []
    for limit in limits:
        nearest = min(candidates, key=lambda c: (limit.excess(c), c.configuration))
        if not limit.kept_by(nearest):
            alone.append(f"{limit.name} is {limit.reached(nearest)} at best ({nearest.configuration})")
    return f"no configuration keeps {asked}, and no single limit is to blame: {'; '.join(alone) or 'some exclude each other'}"
