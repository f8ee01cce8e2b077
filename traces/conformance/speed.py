"""What a decision costs, measured against a plain reference in the same run, so that a slow machine is not the policy's fault."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from policies.decisions import StepPlan
from policies.registry import METHOD
from policies.routers import JoinShortestQueue
from policies.scalers import TargetLoad
from policies.types import EngineView
from traces.conformance.finding import Check, Finding, Level
from traces.conformance.purity import PURE
from traces.conformance.sight import SIGHT
from traces.conformance.stories import crowd
from traces.conformance.subject import Subject

_SIZES = {"router": (64, 512), "scaler": (64, 512), "batcher": (256, 2048), "speculator": (256, 2048)}
_WHAT = {"router": "engines", "scaler": "engines", "batcher": "running requests", "speculator": "running requests"}
_ROUNDS = 15
_BATCH_S = 2e-4
_SLOW, _TOO_SLOW = 50.0, 1000.0
_STEEP = 3.0  # growth with 8 times the size, in multiples of the reference's, which is linear; 8 is quadratic

_WHY = (
    "A router is asked for every request, a batcher between any two steps of an engine, where the GPU waits: the simulator makes "
    "millions of decisions per minute, and production has well under a millisecond for one."
)
_INSTEAD = (
    "Look at every engine (or request) once per decision; keep sums and indexes in the policy, and bring them up to date by what "
    "has changed; sort only what is near the top."
)


class _InOrder:
    """The reference for batchers and speculators: one look at every request."""

    def plan(self, engine: EngineView) -> StepPlan:
        waited = sum(request.prompt_tokens - request.prefilled_tokens for request in (*engine.running, *engine.waiting))
        return StepPlan(max(1, min(engine.max_batched_tokens, waited)), reason="all that is there")

    shape = plan


_REFERENCES: dict[str, type] = {"router": JoinShortestQueue, "scaler": TargetLoad}


def _run(subject: Subject) -> Iterator[Finding]:
    small, large = _SIZES[subject.point]
    reference: Any = _REFERENCES.get(subject.point, _InOrder)()
    cost, plain = _medians(subject, reference, small)
    ratio = cost / plain
    name = {"router": "join-shortest-queue", "scaler": "target-load"}.get(subject.point, "one look at every request")
    measured = f"{_time(cost)} per decision at {small} {_WHAT[subject.point]}, {ratio:.2g} × {name} ({_time(plain)})"
    more, plain_more = _medians(subject, reference, large) if ratio < _TOO_SLOW else (cost, plain)
    if ratio >= _TOO_SLOW:
        yield Finding("speed", Level.ERROR, measured, _WHY, _INSTEAD)
    elif ratio >= _SLOW:
        yield Finding("speed", Level.WARNING, measured, _WHY, _INSTEAD)
    elif more / plain_more > _STEEP * ratio and ratio > 1:
        what = f"{measured}; {more / cost:.0f} times that at {large}, 8 times as many"
        yield Finding("speed", Level.WARNING, what, _WHY, _INSTEAD)
    else:
        yield Finding("speed", Level.INFO, measured)


def _medians(subject: Subject, reference: Any, size: int) -> tuple[float, float]:
    """Seconds per decision of the policy and of the reference, measured in turns."""
    (call,) = crowd(subject.point, size, oracle=subject.oracle).calls
    ours, theirs = (getattr(policy, METHOD[subject.point]) for policy in (subject.build(), reference))
    batches = [max(1, int(_BATCH_S / _seconds(decide, call, 1))) for decide in (ours, theirs)]
    rounds: list[list[float]] = [[], []]
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(_ROUNDS):
            for decide, batch, taken in zip((ours, theirs), batches, rounds, strict=True):
                taken.append(_seconds(decide, call, batch))
    finally:
        if enabled:
            gc.enable()
    return median(rounds[0]), median(rounds[1])


def _seconds(decide: Any, call: tuple[Any, ...], times: int) -> float:
    """By the clock of this thread, which stands still while others have its core."""
    began = time.thread_time()
    for _ in range(times):
        decide(*call)
    return max(time.thread_time() - began, 1e-9) / times


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


CHECK = Check("speed", "decides fast enough", _run, after=("parameters", *PURE, *SIGHT, "survival"))
