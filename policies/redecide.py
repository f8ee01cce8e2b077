"""Re-deciding: a fresh policy object, fed the calls of a decision log, must decide the same, byte for byte.

This is what parity between the worlds means, how a policy's state is rebuilt anywhere, and how any single decision of a run is
looked into afterwards: replay up to it, and stop there with a debugger.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies import registry
from policies.decisionlog import plan_data, routing_data, scale_data, speculation_data
from policies.decisions import Drafts, Tree
from policies.fingerprint import Fingerprint
from policies.intent import Intent
from policies.latency import FingerprintLatency, LatencyModel
from policies.views import NOT_HELD, Engine, Fleet, Request, arrivals_of, completed_of, inventory_of

_KEPT = 10


@dataclass(frozen=True, slots=True)
class Difference:
    """A logged decision and what the fresh object decided in its place, both as canonical JSON.

    ``index``: of the decision within the log. ``who``: whom it was made for: ``request 12``, ``engine e0``, ``the fleet``.
    """

    index: int
    point: str
    who: str
    now_s: float
    logged: str
    again: str


@dataclass(frozen=True, slots=True)
class Redecision:
    """The outcome: how many ``decisions`` were made again, how many of them ``differ``, and the first few that do.

    ``policies``: the fresh objects as the log left them: ``router``, ``scaler``, and the batchers by the ids of their engines.
    """

    decisions: int
    differ: int
    differences: Sequence[Difference]
    policies: Mapping[str, Any]

    @property
    def same(self) -> bool:
        """True when something was decided again, and all of it the same."""
        return self.decisions > 0 and not self.differ


def redecide(log: Iterable[Mapping[str, Any]], build: Callable[[str], Any]) -> Redecision:
    """Feed a full decision log to fresh policy objects: one router, one scaler, and one batcher per engine.

    ``build``: decision point → a fresh policy object.

    Raises:
        ValueError: the log is a summary, which holds no views.
    """
    policies: dict[str, Any] = {}
    models: dict[int, LatencyModel] = {}
    found: list[Difference] = []
    decisions = differ = 0
    for entry in log:
        point = entry["point"]
        if point == "restart":  # the engine's process is a new one, and so were its policies
            policies.pop(entry["engine"], None)
            policies.pop(f"{entry['engine']} speculator", None)
            continue
        if point == "latency":
            if entry["fingerprint"] is not None:
                models[entry["latency"]] = FingerprintLatency(Fingerprint.from_dict(entry["fingerprint"]))
            continue
        if "now_s" not in entry:
            raise ValueError("this decision log is a summary; run the scenario again with `decisions: full`")
        key = {"batcher": "{engine}", "speculator": "{engine} speculator"}.get(point, point).format_map(entry)
        if key not in policies:
            policies[key] = build(point)
        try:
            decided = _DECIDE[point](policies[key], entry, models)
        except Exception as fault:  # whatever the policy raises is its answer
            decided = {"raised": f"{type(fault).__name__}: {fault}"}
        logged = canonical({name: entry[name] for name in _DECISION[point] if name in entry})
        again = canonical(decided)
        if logged != again:
            differ += 1
            if len(found) < _KEPT:
                found.append(Difference(decisions, point, _whom(entry), entry["now_s"], logged, again))
        decisions += 1
    return Redecision(decisions, differ, found, policies)


def redecide_record(manifest: Mapping[str, Any], log: Iterable[Mapping[str, Any]]) -> Redecision:
    """Re-decide a run from its record: the policies that its manifest names, the decisions that it logged.

    Raises:
        ValueError: the log is a summary, or a policy of the run cannot be built here (``registry.PolicyError``).
    """
    chosen = manifest["policies"]

    def build(point: str) -> Any:
        return registry.build(point, chosen[point]["name"], chosen[point]["params"], manifest["seed"])

    return redecide(log, build)


def canonical(value: Any) -> str:
    """JSON with sorted keys and shortest floats: equal text, equal decision."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=lambda scalar: scalar.item())


def _route(router: Any, entry: Mapping[str, Any], models: Mapping[int, LatencyModel]) -> dict[str, Any]:
    fleet = _fleet(entry, models)
    return routing_data(router.route(Request.of(entry["request"]), fleet), fleet.engines)


def _scale(scaler: Any, entry: Mapping[str, Any], models: Mapping[int, LatencyModel]) -> dict[str, Any]:
    return scale_data(scaler.scale(_fleet(entry, models)))


def _fleet(entry: Mapping[str, Any], models: Mapping[int, LatencyModel]) -> Fleet:
    now_s = entry["now_s"]
    members = tuple(_engine(data, now_s, models) for data in entry["members"]) if "members" in entry else NOT_HELD
    rest: dict[str, Any] = {
        "held": tuple(map(Request.of, entry["held"])) if "held" in entry else NOT_HELD,
        "completed": tuple(map(completed_of, entry["completed"])) if "completed" in entry else NOT_HELD,
        "inventory": inventory_of(entry["inventory"]) if "inventory" in entry else NOT_HELD,
        "arrivals": arrivals_of(entry["arrivals"]) if "arrivals" in entry else NOT_HELD,
        "intents": {model: Intent(**said) for model, said in entry["intents"].items()} if "intents" in entry else NOT_HELD,
    }
    if "engines" not in entry:
        return Fleet.of_members(members, now_s, **rest)
    return Fleet(tuple(_engine(data, now_s, models) for data in entry["engines"]), now_s, members=members, **rest)


def _whom(entry: Mapping[str, Any]) -> str:
    match entry["point"]:
        case "router":
            return f"request {entry['request']['id']}"
        case "batcher" | "speculator":
            return f"engine {entry['engine']}"
    return "the fleet"


def _plan(batcher: Any, entry: Mapping[str, Any], models: Mapping[int, LatencyModel]) -> dict[str, Any]:
    return plan_data(batcher.plan(_engine(entry["view"], entry["now_s"], models)))


def _speculate(speculator: Any, entry: Mapping[str, Any], models: Mapping[int, LatencyModel]) -> dict[str, Any]:
    view = _engine(entry["view"], entry["now_s"], models)
    if entry["decision"] == "DraftShape":
        return speculation_data(speculator.shape(view))
    return speculation_data(speculator.select(view, _drafts(entry)))


def _drafts(entry: Mapping[str, Any]) -> Drafts:
    chains = {int(id): tuple(chain) for id, chain in entry["drafts"].items()}
    if "trees" not in entry:
        return Drafts(chains)
    return Drafts(chains, {int(id): Tree(tuple(parents), tuple(given)) for id, (parents, given) in entry["trees"].items()})


def _engine(data: Mapping[str, Any], now_s: float, models: Mapping[int, LatencyModel]) -> Engine:
    return Engine.of({k: v for k, v in data.items() if k != "latency"}, now_s, models.get(data.get("latency", -1), NOT_HELD))


_DECISION: Mapping[str, Sequence[str]] = {
    "router": ("decision", "reason", "engine", "scores", "queue"),
    "scaler": ("decision", "reason", "changes", "next_at_s", "on_hold"),
    "batcher": ("decision", "reason", "token_budget", "order", "caps", "preempt", "valid_steps", "admit"),
    "speculator": ("decision", "reason", "tokens", "per_request", "width", "nodes"),
}
_DECIDE: Mapping[str, Callable[[Any, Mapping[str, Any], Mapping[int, LatencyModel]], dict[str, Any]]] = {
    "router": _route,
    "scaler": _scale,
    "batcher": _plan,
    "speculator": _speculate,
}
