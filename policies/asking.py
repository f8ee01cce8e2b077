"""When a scaler is asked, and what becomes of its answers: the bookkeeping behind ``Scale``, the same in both worlds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from policies.decisions import Activate, Drain, Scale

_Engine = TypeVar("_Engine")
_Changed = TypeVar("_Changed", contravariant=True)


class Changing(Protocol[_Changed]):
    """Who carries changes out."""

    def activate(self, engine: _Changed, tier: str | None, /) -> None: ...
    def drain(self, engine: _Changed, /) -> None: ...
    def move(self, engine: _Changed, tier: str | None, /) -> None: ...


class Asking(Generic[_Engine]):
    """Asks a scaler at the start, at the times that it names and, if it wants to, when the router holds a request.

    ``decide``: asks it for an answer that is lawful. ``now``: the world's time in seconds. ``call_at``: calls at a time.
    ``refuse``: makes the error of a scaler that lets time stand still, which the wall clock never does.
    """

    def __init__(
        self,
        decide: Callable[[], Scale],
        now: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], None],
        lifecycle: Changing[_Engine],
        engines: Mapping[str, _Engine],
        refuse: Callable[[str], Exception],
    ) -> None:
        self._decide = decide
        self._now = now
        self._call_at = call_at
        self._lifecycle = lifecycle
        self._engines = engines
        self._refuse = refuse
        self._answers = 0
        """Counts them: a timer set before the last one has been overtaken."""
        self._pending = False
        self._on_hold = False
        self._asked_s = -1.0
        self._asked_here = 0
        """How often at this instant."""
        self._ask()

    def again(self) -> None:
        """Something is new that the scaler has not asked to be told of: it is asked at once."""
        if not self._pending:
            self._pending = True
            self._call_at(self._now(), self._ask)

    def held(self) -> None:
        """The router holds one more request."""
        if self._on_hold:
            self.again()

    def _ask(self) -> None:
        now = self._now()
        self._pending = False
        self._asked_here = self._asked_here + 1 if now == self._asked_s else 1
        self._asked_s = now
        if self._asked_here > 2 * len(self._engines) + 100:
            raise self._refuse(
                f"policy.scaler: was asked {self._asked_here} times at {now:g} s and changes the fleet each time, so that time "
                "stands still; let it change what it has changed at this instant only once"
            )
        scale = self._decide()
        self._on_hold = scale.on_hold
        self._answers += 1
        answer = self._answers
        if scale.next_at_s != float("inf"):
            self._call_at(scale.next_at_s, lambda: self._ask() if self._answers == answer else None)
        self._carry_out(scale)

    def _carry_out(self, scale: Scale) -> None:
        for change in scale.changes:
            engine = self._engines[change.engine]
            if isinstance(change, Activate):
                self._lifecycle.activate(engine, change.tier)
            elif isinstance(change, Drain):
                self._lifecycle.drain(engine)
            else:
                self._lifecycle.move(engine, change.tier)
