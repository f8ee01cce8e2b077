"""Failures of engines: those that the scenario lists, and random ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from policies.streams import generator
from sim.engine import Engine
from sim.kernel import FLEET, Kernel

Fail = Callable[[Engine, float], None]
"""Takes an engine, and for how many seconds it is down before it starts again (``inf`` = for good)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """``engine`` (its id) fails at ``at_s`` and is down for ``down_s``."""

    engine: str
    at_s: float
    down_s: float


def strike(kernel: Kernel, engines: Sequence[Engine], faults: Sequence[Fault], fail: Fail) -> None:
    """Let the listed failures happen."""
    by_id = {engine.id: engine for engine in engines}
    for fault in faults:
        kernel.call_at(fault.at_s, FLEET, lambda _, fault=fault: fail(by_id[fault.engine], fault.down_s))  # type: ignore[misc]


class RandomFaults:
    """Each engine fails after an exponential time with mean ``mtbf_s``, is down for one with mean ``mttr_s``, and so on.

    An engine's times come from a stream of its own, so that they stay when the rest of the scenario changes. The clock runs on
    while an engine is parked; a failure then does not count.
    """

    def __init__(self, kernel: Kernel, engines: Sequence[Engine], mtbf_s: float, mttr_s: float, seed: int, fail: Fail) -> None:
        self._kernel = kernel
        self._means = mtbf_s, mttr_s
        self._fail = fail
        for engine in engines:
            self._next(engine, generator(seed, "faults", engine.index).exponential)

    def _next(self, engine: Engine, draw: Callable[[float], float]) -> None:
        up_s, down_s = (float(draw(mean)) for mean in self._means)
        at_s = self._kernel.now + up_s

        def strike(_: object) -> None:
            self._fail(engine, down_s)
            self._kernel.call_at(at_s + down_s, FLEET, lambda _: self._next(engine, draw))

        self._kernel.call_at(at_s, FLEET, strike)
