"""When the scaler is asked, and what becomes of its answers on real engines."""

from __future__ import annotations

from collections.abc import Mapping

from policies.lawful import scale_fault
from policies.protocols import Scaler
from policies.types import Activate, Drain, FleetView, Scale
from replay.clock import Clock, Turn
from replay.engine import Engine
from replay.lifecycle import Lifecycle
from traces.errors import InputError


class Scaling:
    """Asks a scaler at the start, at the times that it names and, if it wants to, when the router holds a request."""

    def __init__(self, clock: Clock, scaler: Scaler, fleet: FleetView, lifecycle: Lifecycle, engines: Mapping[str, Engine]) -> None:
        self._clock = clock
        self._scaler = scaler
        self._fleet = fleet
        self._lifecycle = lifecycle
        self._engines = engines
        self._answers = 0
        """Counts them: a timer set before the last one has been overtaken."""
        self._pending = False
        self._on_hold = False
        self._asked_s = -1.0
        self._asked_here = 0
        """How often at this instant, which by the wall clock is never twice the same."""
        self._ask()

    def held(self) -> None:
        """The router holds one more request."""
        if self._on_hold and not self._pending:
            self._pending = True
            self._clock.call_at(self._clock.now(), Turn.SCALE, self._ask)

    def _ask(self) -> None:
        now = self._clock.now()
        self._pending = False
        self._asked_here = self._asked_here + 1 if now == self._asked_s else 1
        self._asked_s = now
        if self._asked_here > 2 * len(self._engines) + 100:
            raise InputError(
                f"policy.scaler: was asked {self._asked_here} times at {now:g} s and changes the fleet each time, so that time "
                "stands still; let it change what it has changed at this instant only once"
            )
        scale = self._asked()
        self._on_hold = scale.on_hold
        self._answers += 1
        answer = self._answers
        if scale.next_at_s != float("inf"):
            self._clock.call_at(scale.next_at_s, Turn.SCALE, lambda: self._ask() if self._answers == answer else None)
        self._carry_out(scale)

    def _asked(self) -> Scale:
        self._clock.hold()
        try:
            scale = self._scaler.scale(self._fleet)
            if fault := scale_fault(scale, self._fleet):
                raise InputError(f"policy.scaler: {fault}")
        finally:
            self._clock.go_on()
        return scale

    def _carry_out(self, scale: Scale) -> None:
        for change in scale.changes:
            engine = self._engines[change.engine]
            if isinstance(change, Activate):
                self._lifecycle.activate(engine, change.tier)
            elif isinstance(change, Drain):
                self._lifecycle.drain(engine)
            else:
                self._lifecycle.move(engine, change.tier)
