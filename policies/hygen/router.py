"""PolyServe's router beside offline work: where the batcher serves online requests first, offline ones stand in no one's way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from policies.decisions import Assign, Hold, Routing
from policies.hygen.lines import tokens_known
from policies.polyserve.admission import Projection
from policies.polyserve.router import PolyServe
from policies.types import EngineView, FleetView, RequestView


class PolyServeHyGen:
    """PolyServe for online requests, on engines as they were without their offline ones; offline requests are dealt out evenly.

    For batchers that serve online requests first, such as ``hygen``. PolyServe by itself counts a backlog of prompts as work that
    comes before a new request's, so that no engine makes its TTFT objective.

    Args:
        projection: how a batch's KV peak is foreseen, ``bound`` or ``simulate``.
        promotion: whether online requests may go to tighter tiers.

    Source: PolyServe, arXiv 2507.17769, §4, and HyGen, arXiv 2501.14808, §4.4; neither paper combines them.
    """

    __slots__ = ("_engines", "_given", "_online", "_shown")

    def __init__(self, *, projection: Projection = "bound", promotion: bool = True) -> None:
        self._online = PolyServe(projection=projection, promotion=promotion)
        self._engines: Sequence[EngineView] = ()
        self._shown: Sequence[_Online] = ()
        self._given: dict[str, int] = {}
        """Offline requests so far, by engine."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        if not request.offline:
            if fleet.engines is not self._engines:
                self._engines, self._shown = fleet.engines, [_Online(engine) for engine in fleet.engines]
            return self._online.route(request, cast("FleetView", _Fleet(fleet, self._shown)))
        given = self._given
        engine = min(
            (engine.id for engine in fleet.engines if engine.model == request.model), key=lambda id: given.get(id, 0), default=None
        )
        if engine is None:
            return Hold(f"no active engine serves {request.model}")
        given[engine] = given.get(engine, 0) + 1
        return Assign(engine, "fewest offline requests so far")


class _Shown:
    """Another view with something changed."""

    __slots__ = ("_of",)

    def __init__(self, of: Any) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_of"), name)


class _Online(_Shown):
    """An engine without its offline requests, whose memory is theirs only until it is needed."""

    __slots__ = ()

    @property
    def running(self) -> Sequence[RequestView]:
        return _online(self._of.running)

    @property
    def waiting(self) -> Sequence[RequestView]:
        return _online(self._of.waiting)

    @property
    def running_count(self) -> int:
        return len(self.running)

    @property
    def waiting_count(self) -> int:
        return len(self.waiting)

    @property
    def pending_prefill_tokens(self) -> int:
        left = (tokens_known(r) - r.prefilled_tokens for r in (*self.running, *self.waiting))
        return sum(tokens for tokens in left if tokens > 1)

    @property
    def kv_tokens_used(self) -> int:
        block: int = self._of.block_tokens
        used: int = self._of.kv_tokens_used
        offline: int = sum(-(-r.prefilled_tokens // block) * block for r in self._of.running if r.offline)
        return max(0, used - offline)


class _Fleet(_Shown):
    __slots__ = ("engines",)

    def __init__(self, of: FleetView, engines: Sequence[_Online]) -> None:
        super().__init__(of)
        self.engines = engines


def _online(requests: Iterable[RequestView]) -> Sequence[RequestView]:
    return tuple(request for request in requests if not request.offline)
