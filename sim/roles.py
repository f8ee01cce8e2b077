"""Engines of fleets where prefill and decode are apart: each a plain engine that gives requests away, or takes them on."""

from __future__ import annotations

from collections.abc import Sequence

from policies.types import Role
from sim.engine import Engine
from sim.handover import DecodeScheduler, PrefillScheduler
from sim.request import Request
from sim.scheduler import Scheduler


class PrefillEngine(Engine):
    """Requests leave it after their first token; their KV stays until the decode engine has it."""

    __slots__ = ()
    scheduler: PrefillScheduler

    def _end_batch(self) -> None:
        super()._end_batch()
        if self.scheduler.prefilled:
            self._plan_expires = 0.0
            self._note_broken_runs()
            self._listener.on_prefilled(self, self.scheduler.prefilled)

    @property
    def leased(self) -> Sequence[Request]:
        return tuple(self.scheduler.leases)

    def end_lease(self, request: Request) -> None:
        """The KV that ``request`` left here is not needed any more."""
        self.scheduler.end_lease(request)
        if self.scheduler.waiting:
            self.wake()


class DecodeEngine(Engine):
    """It takes on requests whose KV is on another engine."""

    __slots__ = ()
    scheduler: DecodeScheduler

    def _count(self) -> None:
        super()._count()
        self.waiting_count += len(self.scheduler.remote)

    def expect(self, request: Request) -> None:
        """Take a request that is to decode here."""
        self.scheduler.expect(request)
        self.waiting_count += 1
        self.wake()

    def receive(self, request: Request) -> None:
        """The KV of an expected request is here."""
        self.scheduler.arrived(request)
        self.wake()

    def forget(self, request: Request) -> None:
        """Drop an expected request."""
        self.scheduler.forget(request)
        self.waiting_count -= 1
        self.wake()


KINDS: dict[Role, tuple[type[Engine], type[Scheduler]]] = {
    Role.BOTH: (Engine, Scheduler),
    Role.PREFILL: (PrefillEngine, PrefillScheduler),
    Role.DECODE: (DecodeEngine, DecodeScheduler),
}
"""By role: the engine, and the scheduler that it carries out."""
