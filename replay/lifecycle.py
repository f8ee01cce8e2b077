"""The lives of engines: started, active, drained, parked, failed and repaired; the states are those of the simulator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from policies.types import EngineState
from replay.clock import Clock, Turn
from replay.engine import Engine


class Power(Protocol):
    """What becomes of an engine's process and memory as the engine comes up and goes down."""

    def at_once(self, engine: Engine) -> bool:
        """Whether a parked engine serves as soon as it is asked to."""

    def start(self, engine: Engine, ready: Callable[[], None]) -> None:
        """Make a parked or failed engine serve; ``ready`` is called when it does."""

    def park(self, engine: Engine) -> None:
        """An engine that holds nothing is not needed for now; it may be starting still."""

    def fail(self, engine: Engine) -> None:
        """Break the engine, as a fault would."""


class Idle:
    """Parked engines idle, and count as starting for as long as the scenario says that a start takes: the simulator's model.

    ``start_up_s``: of each engine, by index.
    """

    def __init__(self, clock: Clock, start_up_s: Sequence[float]) -> None:
        self._clock = clock
        self._start_up_s = start_up_s

    def at_once(self, engine: Engine) -> bool:
        return self._start_up_s[engine.index] == 0

    def start(self, engine: Engine, ready: Callable[[], None]) -> None:
        self._clock.call_at(self._clock.now() + self._start_up_s[engine.index], Turn.FLEET, ready)

    def park(self, engine: Engine) -> None:
        pass

    def fail(self, engine: Engine) -> None:
        pass


class Lifecycle:
    """Changes the states of engines on behalf of a scaler or of a fault. ``on_change`` is called after every change."""

    def __init__(self, clock: Clock, engines: Sequence[Engine], power: Power, on_change: Callable[[Engine], None]) -> None:
        self._clock = clock
        self._power = power
        self._on_change = on_change
        self._lives = dict.fromkeys((engine.id for engine in engines), 0)
        """Counts an engine's changes, so that a timer can tell whether it is still meant."""

    def activate(self, engine: Engine, tier: str | None) -> None:
        """A parked engine starts, a draining one goes on."""
        engine.tier = tier
        if engine.state is EngineState.DRAINING:
            self._enter(engine, EngineState.ACTIVE)
        else:
            self._start(engine)

    def drain(self, engine: Engine) -> None:
        """An active engine gets no more requests; one that starts is parked at once."""
        if engine.state is EngineState.ACTIVE:
            self._enter(engine, EngineState.DRAINING)
            self.left(engine)
        else:
            self._park(engine)

    def move(self, engine: Engine, tier: str | None) -> None:
        """The engine is set aside for another tier."""
        engine.tier = tier
        self._on_change(engine)

    def left(self, engine: Engine) -> None:
        """Something has left the engine: if it drains and is empty now, it is parked."""
        if engine.state is EngineState.DRAINING and engine.empty:
            self._park(engine)

    def fail(self, engine: Engine, down_s: float) -> None:
        """The engine is gone; after ``down_s`` it starts again, or is parked if it was being drained."""
        drained = engine.state is EngineState.DRAINING
        self._power.fail(engine)
        self._enter(engine, EngineState.FAILED)
        if down_s == float("inf"):
            return
        again = self._if_still(engine, lambda: self._enter(engine, EngineState.PARKED) if drained else self._start(engine))
        self._clock.call_at(self._clock.now() + down_s, Turn.FLEET, again)

    def changed(self, engine: Engine) -> None:
        """The engine has changed its state by itself: its server has died, or answers again."""
        self._lives[engine.id] += 1
        self._on_change(engine)

    def _start(self, engine: Engine) -> None:
        if self._power.at_once(engine):
            self._enter(engine, EngineState.ACTIVE)
        else:
            self._enter(engine, EngineState.STARTING)
            self._power.start(engine, self._if_still(engine, lambda: self._enter(engine, EngineState.ACTIVE)))

    def _park(self, engine: Engine) -> None:
        self._enter(engine, EngineState.PARKED)
        self._power.park(engine)

    def _if_still(self, engine: Engine, action: Callable[[], None]) -> Callable[[], None]:
        """``action``, unless the engine has changed by then."""
        life = self._lives[engine.id]
        return lambda: action() if self._lives[engine.id] == life else None

    def _enter(self, engine: Engine, state: EngineState) -> None:
        self._lives[engine.id] += 1
        engine.state = state
        self._on_change(engine)
