"""The decision log of a simulated run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from policies.types import Assign, EngineView, FleetView, RequestView, Routing


class Decisions(Protocol):
    """Takes note of decisions as they are made."""

    def routed(self, request: RequestView, fleet: FleetView, decision: Routing) -> None: ...

    def __iter__(self) -> Iterator[Mapping[str, Any]]: ...


class Summary:
    """Counts decisions by kind and reason: one line each, with the first and the last time."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], list[float]] = {}

    def routed(self, request: RequestView, fleet: FleetView, decision: Routing) -> None:
        key = (type(decision).__name__, decision.reason)
        now = fleet.now_s
        entry = self._counts.get(key)
        if entry is None:
            self._counts[key] = [1, now, now]
        else:
            entry[0] += 1
            entry[2] = now

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for (kind, reason), (count, first, last) in self._counts.items():
            yield {"point": "router", "decision": kind, "reason": reason, "count": int(count), "first_s": first, "last_s": last}


class Full:
    """Keeps every decision with the view that it was made on, so that a fresh policy object can decide again."""

    def __init__(self) -> None:
        self._entries: list[Mapping[str, Any]] = []

    def routed(self, request: RequestView, fleet: FleetView, decision: Routing) -> None:
        engines = fleet.engines
        entry: dict[str, Any] = {"point": "router", "decision": type(decision).__name__, "reason": decision.reason}
        if isinstance(decision, Assign):
            entry["engine"] = decision.engine
            entry["scores"] = decision.named_scores(engines)
        entry["now_s"] = fleet.now_s
        entry["request"] = _request(request)
        entry["engines"] = [_engine(engine) for engine in engines]
        self._entries.append(entry)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._entries)


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
_ENGINE = (
    "id",
    "model",
    "role",
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


def _request(request: RequestView) -> dict[str, Any]:
    slo = request.slo
    return {
        **{name: getattr(request, name) for name in _REQUEST},
        "slo": {"ttft_s": slo.ttft_s, "tpot_s": slo.tpot_s, "e2e_s": slo.e2e_s},
        "prefix_blocks": [int(block) for block in request.prefix_blocks],
    }


def _engine(engine: EngineView) -> dict[str, Any]:
    return {name: getattr(engine, name) for name in _ENGINE}


def decision_log(level: str) -> Summary | Full | None:
    """The log for a level: off | summary | full."""
    return {"off": lambda: None, "summary": Summary, "full": Full}[level]()
