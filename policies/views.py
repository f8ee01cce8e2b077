"""Views as plain, frozen data: what a policy is shown where there is no world, only values.

The conformance kit makes them up, re-deciding reads them from a decision log, documentation and tests write them down. They satisfy
the protocols of ``policies.types``, hold nothing else, and never change. ``request_data`` and ``engine_data`` turn any view, a
live one too, into JSON-able data; ``Request.of``, ``Engine.of`` and ``Fleet.of`` turn it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from typing import Any, Never

from policies.intent import Intent
from policies.latency import LatencyModel
from policies.seating import Inventory, Seat
from policies.types import SLO, Arrivals, Completed, EngineState, EngineView, RequestView, Role


class NotObserved(LookupError):
    """A policy read something of a view that this view does not hold."""


class _NotHeld(Sequence[Any]):
    """In the place of requests, prefix blocks or a latency model that a view does not hold: any use of it is an error."""

    def _refuse(self, *_: object) -> Never:
        raise NotObserved(
            "this view does not hold the requests, prefix blocks or latency model that are read here; "
            "a decision log holds what was read in the call itself, so read it in the call that needs it"
        )

    __len__ = __getitem__ = __iter__ = __contains__ = __reversed__ = seconds = seconds_many = _refuse

    def __repr__(self) -> str:
        return "NOT_HELD"

    def __reduce__(self) -> str:
        return "NOT_HELD"  # copies and pickles are the same object


NOT_HELD: Any = _NotHeld()
NO_SLO = SLO()
NO_GPUS = Inventory()


@dataclass(frozen=True, slots=True)
class Request:
    """A ``RequestView``."""

    id: int = 0
    model: str = "m"
    prompt_tokens: int = 1000
    prefix_blocks: Sequence[int] = ()
    tier: str = "default"
    offline: bool = False
    slo: SLO = NO_SLO
    arrival_s: float = 0.0
    expected_output_tokens: float = 256.0
    prefilled_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    first_token_s: float | None = None
    kv_engine: str | None = None
    drafted_tokens: int = 0
    accepted_tokens: int = 0

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Request:
        """The request that ``request_data`` wrote; an ``OracleRequest`` where the data tell the future."""
        values = {**data, "slo": SLO(**data["slo"]), "prefix_blocks": NOT_HELD}
        if "prefix_blocks" in data:
            values["prefix_blocks"] = tuple(data["prefix_blocks"])
        return (OracleRequest if FUTURE in data else cls)(**values)


@dataclass(frozen=True, slots=True)
class OracleRequest(Request):
    """What an ``oracle-*`` policy is shown, and no other: how many tokens the request will have generated when it is done."""

    true_output_tokens: int = 1


@dataclass(frozen=True, slots=True)
class Engine:
    """A ``StepView`` and a ``DraftView``. Its requests and ``latency`` refuse to be read unless given; the counts stand alone."""

    id: str = "e0"
    model: str = "m"
    running_count: int = 0
    waiting_count: int = 0
    pending_prefill_tokens: int = 0
    kv_tokens_capacity: int = 100_000
    max_batched_tokens: int = 8192
    role: Role = Role.BOTH
    tier: str | None = None
    state: EngineState = EngineState.ACTIVE
    now_s: float = 0.0
    as_of_s: float = 0.0
    step: int = 0
    step_ends_s: float = 0.0
    kv_tokens_used: int = 0
    block_tokens: int = 16
    max_seqs: int = 256
    running: Sequence[Request] = NOT_HELD
    waiting: Sequence[Request] = NOT_HELD
    arrived: Sequence[Request] = NOT_HELD
    departed: Sequence[int] = NOT_HELD
    latency: LatencyModel = field(default=NOT_HELD, compare=False)
    draft_s: float = 0.0
    token_budget: int = 8192

    @classmethod
    def of(cls, data: Mapping[str, Any], now_s: float, latency: LatencyModel = NOT_HELD) -> Engine:
        """The engine that ``engine_data`` wrote, as seen at ``now_s``."""
        values = {**data, "role": Role(data["role"]), "state": EngineState(data["state"]), "now_s": now_s, "latency": latency}
        for name in ("running", "waiting", "arrived"):
            if name in data:
                values[name] = tuple(map(Request.of, data[name]))
        if "departed" in data:
            values["departed"] = tuple(data["departed"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Fleet:
    """A ``FleetView``. ``members``: the ``engines`` where nothing is said."""

    engines: Sequence[Engine] = ()
    now_s: float = 0.0
    held: Sequence[Request] = ()
    members: Sequence[Engine] = ()
    inventory: Inventory = NO_GPUS
    completed: Sequence[Completed] = ()
    arrivals: Sequence[Arrivals] = ()
    intents: Mapping[str, Intent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.members is not NOT_HELD and not self.members:
            object.__setattr__(self, "members", self.engines)

    @classmethod
    def at_rest(cls, count: int, model: str = "m") -> Fleet:
        """``count`` idle engines e0, e1, …"""
        return cls(tuple(Engine(id=f"e{i}", model=model) for i in range(count)))

    @classmethod
    def of_members(cls, members: Sequence[Engine], now_s: float = 0.0, **rest: Any) -> Fleet:
        """A fleet of engines in whatever state."""
        active = tuple(engine for engine in members if engine.state is EngineState.ACTIVE)
        return cls(active, now_s, members=members, **rest)

    @property
    def idle(self) -> Sequence[Engine]:
        """The parked ones of ``members``."""
        return [engine for engine in self.members if engine.state is EngineState.PARKED]


class FrozenRequest:
    """A request's progress at the moment of observation; all else is read from the request."""

    __slots__ = (
        "_request",
        "accepted_tokens",
        "cached_tokens",
        "drafted_tokens",
        "first_token_s",
        "generated_tokens",
        "prefilled_tokens",
    )

    def __init__(self, request: RequestView) -> None:
        self._request = request
        self.generated_tokens = request.generated_tokens
        self.prefilled_tokens = request.prefilled_tokens
        self.cached_tokens = request.cached_tokens
        self.first_token_s = request.first_token_s
        self.drafted_tokens = request.drafted_tokens
        self.accepted_tokens = request.accepted_tokens

    def __getattr__(self, name: str) -> object:
        return getattr(self._request, name)


FUTURE = "true_output_tokens"
"""The one fact about the future that a view can hold, and only an oracle's."""

_REQUEST = (
    "id",
    "model",
    "tier",
    "offline",
    "arrival_s",
    "prompt_tokens",
    "expected_output_tokens",
    "prefilled_tokens",
    "cached_tokens",
    "generated_tokens",
    "first_token_s",
)
ENGINE_STATE = (
    "state",
    "as_of_s",
    "step",
    "step_ends_s",
    "running_count",
    "waiting_count",
    "pending_prefill_tokens",
    "kv_tokens_used",
    "kv_tokens_capacity",
    "block_tokens",
    "max_seqs",
    "max_batched_tokens",
)
"""What changes of an engine, or bounds it; plain values all."""

_ENGINE = ("id", "model", "role", *ENGINE_STATE)
_request_values = attrgetter(*_REQUEST)
_engine_values = attrgetter(*_ENGINE)


def request_data(request: RequestView, *, prefix: bool = True) -> dict[str, Any]:
    """A request as JSON-able data; ``prefix``: with its prefix blocks, which can be many."""
    slo, kv_engine = request.slo, request.kv_engine
    data = dict(zip(_REQUEST, _request_values(request), strict=True))
    data["slo"] = {"ttft_s": slo.ttft_s, "tpot_s": slo.tpot_s, "e2e_s": slo.e2e_s}
    if kv_engine is not None:
        data["kv_engine"] = kv_engine
    if drafted := request.drafted_tokens:
        data |= {"drafted_tokens": drafted, "accepted_tokens": request.accepted_tokens}
    if prefix:
        data["prefix_blocks"] = [int(block) for block in request.prefix_blocks]
    return data


def engine_data(engine: EngineView) -> dict[str, Any]:
    """An engine's state as JSON-able data, without its requests; a tier only where it has one."""
    data = dict(zip(_ENGINE, _engine_values(engine), strict=True))
    if (tier := engine.tier) is not None:
        data["tier"] = tier
    return data


def inventory_data(inventory: Inventory) -> dict[str, Any]:
    """An inventory as JSON-able data."""
    seats = {engine: asdict(seat) for engine, seat in inventory.seats.items()}
    return {"total": dict(inventory.total), "free": dict(inventory.free), "seats": seats}


def inventory_of(data: Mapping[str, Any]) -> Inventory:
    """The inventory that ``inventory_data`` wrote."""
    seats = {engine: Seat(**seat) for engine, seat in data.get("seats", {}).items()}
    return Inventory(data["total"], data["free"], seats)


def completed_data(request: Completed) -> dict[str, Any]:
    """A completed request as JSON-able data."""
    return request._asdict() | {"slo": asdict(request.slo)}


def completed_of(data: Mapping[str, Any]) -> Completed:
    """The completed request that ``completed_data`` wrote."""
    return Completed(**{**data, "slo": SLO(**data["slo"])})


def arrivals_of(data: Sequence[Mapping[str, Any]]) -> Sequence[Arrivals]:
    """What ``dataclasses.asdict`` made of ``FleetView.arrivals``."""
    return tuple(Arrivals(**{**each, "slo": SLO(**each["slo"])}) for each in data)
