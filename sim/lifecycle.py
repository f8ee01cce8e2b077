"""The lives of engines: started, active, drained, parked, failed and repaired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from policies.seating import Inventory, Seating
from policies.types import EngineState
from sim.engine import Engine
from sim.kernel import FLEET, Kernel
from sim.sharing import Sharing


class Lifecycle:
    """Changes the states of engines and keeps their history. ``on_change`` is called after every change. ``gpus``: by type, that
    there are, where they are fewer than all engines together need.

    ``history``: (time, engine index, state), the states at time 0 first.
    """

    def __init__(
        self, kernel: Kernel, engines: Sequence[Engine], on_change: Callable[[Engine], None], gpus: Mapping[str, int] | None = None
    ) -> None:
        self._kernel = kernel
        self._engines = engines
        self._on_change = on_change
        self._seating = Seating({engine.id: engine.site.seat for engine in engines}, gpus)
        self._sharing = Sharing(engines, gpus)
        self._lives = [0] * len(engines)
        """Counts an engine's changes, so that a timer can tell whether it is still meant."""
        self.history = [(0.0, engine.index, engine.state) for engine in engines]

    def activate(self, engine: Engine, tier: str | None) -> None:
        """A parked engine starts, a draining one goes on."""
        engine.tier = tier
        if engine.state is EngineState.DRAINING:
            self._enter(engine, EngineState.ACTIVE)
        else:
            self._start(engine)

    def drain(self, engine: Engine) -> None:
        """An active engine gets no more requests; one that starts is parked at once."""
        self._enter(engine, EngineState.DRAINING if engine.state is EngineState.ACTIVE else EngineState.PARKED)
        self.left(engine)

    def move(self, engine: Engine, tier: str | None) -> None:
        """The engine is set aside for another tier."""
        engine.tier = tier
        self._on_change(engine)

    def left(self, engine: Engine) -> None:
        """Something has left the engine: if it drains and is empty now, it is parked."""
        if engine.state is EngineState.DRAINING and engine.empty:
            self._enter(engine, EngineState.PARKED)

    def fail(self, engine: Engine, down_s: float) -> None:
        """The engine is gone; after ``down_s`` it starts again, or is parked if it was being drained."""
        drained = engine.state is EngineState.DRAINING
        self._enter(engine, EngineState.FAILED)
        self._later(engine, down_s, lambda: self._enter(engine, EngineState.PARKED) if drained else self._start(engine))

    def inventory(self) -> Inventory:
        """GPUs by type: all, and those that no engine occupies."""
        return self._seating.inventory({engine.id for engine in self._engines if engine.state is EngineState.PARKED})

    def _start(self, engine: Engine) -> None:
        if engine.site.seat.start_up_s:
            self._enter(engine, EngineState.STARTING)
            self._later(engine, engine.site.seat.start_up_s, lambda: self._enter(engine, EngineState.ACTIVE))
        else:
            self._enter(engine, EngineState.ACTIVE)

    def _later(self, engine: Engine, delay_s: float, action: Callable[[], None]) -> None:
        """Unless the engine has changed by then."""
        if delay_s == float("inf"):
            return
        life = self._lives[engine.index]
        self._kernel.call_at(self._kernel.now + delay_s, FLEET, lambda _: action() if self._lives[engine.index] == life else None)

    def _enter(self, engine: Engine, state: EngineState) -> None:
        self._lives[engine.index] += 1
        engine.state = state
        self._sharing.changed(engine)
        self.history.append((self._kernel.now, engine.index, state))
        self._on_change(engine)
