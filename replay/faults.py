"""Failures of engines that the scenario asks for: those that it lists, and random ones, at the times at which the simulator has
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from policies.streams import generator
from replay.clock import Clock, Turn
from replay.engine import Engine
from traces.scenario.fleet import Faults

Fail = Callable[[Engine, float], None]
"""Takes an engine, and for how many seconds it is down before it starts again (``inf`` = for good)."""


def strike(clock: Clock, engines: Sequence[Engine], faults: Faults, seed: int, fail: Fail) -> None:
    """Let the listed failures happen, and the random ones."""
    by_id = {engine.id: engine for engine in engines}
    for outage in faults.events:
        down_s = float("inf") if outage.down_s is None else outage.down_s
        clock.call_at(outage.at_s, Turn.FLEET, lambda engine=by_id[outage.engine], down_s=down_s: fail(engine, down_s))  # type: ignore[misc]
    if faults.mtbf_s is not None:
        for engine in engines:
            _Random(clock, engine, faults.mtbf_s, faults.mttr_s, seed, fail)


class _Random:
    """One engine fails after an exponential time with mean ``mtbf_s``, is down for one with mean ``mttr_s``, and so on.

    Its times come from a stream of its own. The clock runs on while the engine is parked; a failure then does not count.
    """

    def __init__(self, clock: Clock, engine: Engine, mtbf_s: float, mttr_s: float, seed: int, fail: Fail) -> None:
        self._clock = clock
        self._engine = engine
        self._means = mtbf_s, mttr_s
        self._draw = generator(seed, "faults", engine.index).exponential
        self._fail = fail
        self._next(0.0)

    def _next(self, from_s: float) -> None:
        up_s, down_s = (float(self._draw(mean)) for mean in self._means)
        at_s = from_s + up_s
        self._clock.call_at(at_s, Turn.FLEET, lambda: self._strike(at_s, down_s))

    def _strike(self, at_s: float, down_s: float) -> None:
        self._fail(self._engine, down_s)
        self._clock.call_at(at_s + down_s, Turn.FLEET, lambda: self._next(at_s + down_s))
