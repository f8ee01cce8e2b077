"""What a fleet remembers on its policies' behalf, and what it has lost: the same in both worlds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies.arriving import Arriving
from policies.asking import Asking
from policies.completions import Completions, completed
from policies.intent import Intent
from policies.types import Arrivals, Completed, RequestView


@dataclass(slots=True)
class Losses:
    """What failures of engines cost. ``retried`` and ``given_up`` count requests, the former once per attempt."""

    failures: int = 0
    retried: int = 0
    given_up: int = 0


class FleetMemory:
    """The part of a ``FleetView`` that is about the past. A world's fleet is one, and says what happens.

    Router and scaler are told of completed requests apart: each of those since it was last asked itself.
    """

    def __init__(self) -> None:
        self._arriving = Arriving()
        self._intents: dict[str, Intent] = {}
        self._for_router = Completions()
        self._for_scaler = Completions()
        self._scaling: Asking[Any] | None = None
        self._news: Sequence[tuple[RequestView, float]] = ()
        """Who has completed, and when: what the policy that is asked is told."""
        self._told: Sequence[Completed] | None = None
        self.losses = Losses()

    @property
    def arrivals(self) -> Sequence[Arrivals]:
        return self._arriving.counts

    @property
    def intents(self) -> Mapping[str, Intent]:
        return self._intents

    @property
    def completed(self) -> Sequence[Completed]:
        """Of these the policy that is asked is told; few policies look."""
        if self._told is None:
            self._told = tuple(completed(request, at_s) for request, at_s in self._news)
        return self._told

    def set_intent(self, model: str, intent: Intent) -> None:
        """Somebody wants this of the model's deployment from now on."""
        self._intents[model] = intent
        if self._scaling is not None:
            self._scaling.again()

    def tell_router(self) -> None:
        """The router is about to be asked: ``completed`` is what it does not know yet."""
        self._news, self._told = self._for_router.told(), None

    def tell_scaler(self) -> None:
        """The same of the scaler."""
        self._news, self._told = self._for_scaler.told(), None

    def _has_completed(self, request: RequestView, at_s: float) -> None:
        self._for_router.add(request, at_s)
        if self._scaling is not None:
            self._for_scaler.add(request, at_s)

    def _is_held(self) -> None:
        """The router holds one more request, or still some."""
        if self._scaling is not None:
            self._scaling.held()
