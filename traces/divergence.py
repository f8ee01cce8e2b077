"""The first routing decisions that differ between two runs, and what each router saw when it made them.

Both runs need full decision logs (``decisions: full``). Up to the first difference the two worlds are the same, so that one is a
difference of judgement; later ones may follow from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from traces.errors import InputError
from traces.record import Record

LOAD = ("running_count", "waiting_count", "pending_prefill_tokens", "kv_tokens_used")
"""What is shown of an engine in a view."""

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """One arm's decision. ``engine``: ``None`` unless it assigned one. ``score``: of that engine, where the policy gave scores."""

    kind: str
    engine: str | None
    reason: str
    score: float | None
    now_s: float


@dataclass(frozen=True, slots=True)
class Divergence:
    """A request on which the arms decided differently.

    ``loads``: for each engine that either chose, its numbers (``LOAD``) and score in the view of A and in that of B; ``None`` where
    the view does not hold the engine. ``same_view``: both saw the same fleet.
    """

    request: int
    tier: str
    prompt_tokens: int
    a: Choice
    b: Choice
    same_view: bool
    loads: Mapping[str, tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]]

    @property
    def tie(self) -> bool:
        """Who scored both engines scored them alike: nothing but the way of breaking ties decided."""
        scores = [[None if seen is None else seen["score"] for seen in views] for views in zip(*self.loads.values(), strict=True)]
        both = [arm for arm in scores if len(arm) == 2 and None not in arm]
        return bool(both) and all(one == other for one, other in both)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "request": self.request,
            "tier": self.tier,
            "prompt_tokens": self.prompt_tokens,
            **{name: {key: getattr(choice, key) for key in Choice.__slots__} for name, choice in (("a", self.a), ("b", self.b))},
            "same_view": self.same_view,
            "loads": {engine: list(seen) for engine, seen in self.loads.items()},
        }


def divergences(a: Record, b: Record, most: int = 3) -> list[Divergence]:
    """The first ``most``, in the order of A's decisions. A decision that only one log holds is no divergence.

    Raises:
        InputError: a run has no full decision log.
    """
    return list(islice(_differing(_log(a), _log(b)), most))


def telling(found: Sequence[Divergence], most: int = 2) -> list[Divergence]:
    """The first of all, and the first that are no mere ties; in order, ``most`` at most."""
    rest = [d for d in found[1:] if not d.tie]
    return [*found[:1], *rest][:most]


def _log(record: Record) -> Iterator[Entry]:
    where = record.path or f"run {record.manifest['seed']}"
    if record.decisions is None:
        raise InputError(f"{where}: has no decision log; run it with `decisions: full`")
    for entry in record.decisions:
        if "count" in entry:
            raise InputError(f"{where}: has only a summary of its decisions; run it with `decisions: full`")
        if entry["point"] == "router":
            yield entry


def _differing(a: Iterable[Entry], b: Iterable[Entry]) -> Iterator[Divergence]:
    """Matches each request's decisions by their order, since a request may be offered to the router more than once."""
    theirs: dict[int, list[Entry]] = {}
    for entry in b:
        theirs.setdefault(entry["request"]["id"], []).append(entry)
    seen: dict[int, int] = {}
    for mine in a:
        request = mine["request"]["id"]
        turn = seen.get(request, 0)
        seen[request] = turn + 1
        others: Sequence[Entry] = theirs.get(request, ())
        if turn < len(others) and _what(mine) != _what(others[turn]):
            yield _divergence(mine, others[turn])


def _what(entry: Entry) -> tuple[str, str | None]:
    return entry["decision"], entry.get("engine")


def _divergence(a: Entry, b: Entry) -> Divergence:
    chosen = dict.fromkeys(entry["engine"] for entry in (a, b) if entry.get("engine") is not None)
    views = [{engine["id"]: engine for engine in entry["engines"]} for entry in (a, b)]
    loads = {name: (_seen(views[0].get(name), a), _seen(views[1].get(name), b)) for name in chosen}
    same = {name: _load(engine) for name, engine in views[0].items()} == {name: _load(engine) for name, engine in views[1].items()}
    request = a["request"]
    return Divergence(request["id"], request["tier"], request["prompt_tokens"], _choice(a), _choice(b), same, loads)


def _choice(entry: Entry) -> Choice:
    engine = entry.get("engine")
    return Choice(entry["decision"], engine, entry["reason"], _score(entry, engine), entry["now_s"])


def _load(engine: Entry) -> dict[str, Any]:
    return {key: engine[key] for key in LOAD}


def _seen(engine: Entry | None, entry: Entry) -> dict[str, Any] | None:
    return None if engine is None else {**_load(engine), "score": _score(entry, engine["id"])}


def _score(entry: Entry, engine: str | None) -> float | None:
    scores: Mapping[str, float] = entry.get("scores") or {}
    return scores.get(engine) if engine is not None else None
