"""Two records of one scenario and one workload, request by request: how far apart are they?

For worlds that are meant to be equal (the simulator, and vLLM's own scheduler in virtual time), so that nothing is averaged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.hashes import plain_json
from traces.record import Record
from traces.tables import codes, floats

LATENCIES = ("ttft_s", "tpot_s", "e2e_s")
COUNTS = ("output_tokens", "cached_tokens", "preemptions", "drafted_tokens", "accepted_tokens")
TOLERANCE = 0.01
"""Relative difference of a request's TTFT or TPOT that still counts as equal."""
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Agreement:
    """``worst``: per latency the largest relative difference of any request. ``differ``: per count, and for ``engine`` and
    ``outcome``, the requests in which the records differ. ``decisions``, ``decided``: logged decisions that differ, and all that
    there are; ``None`` where a record has no full log. ``first``: the first decision that differs, in both worlds.
    """

    requests: int
    worst: Mapping[str, float]
    differ: Mapping[str, int]
    decisions: int | None = None
    decided: int | None = None
    first: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None

    @property
    def equal(self) -> bool:
        """TTFT and TPOT of every request within ``TOLERANCE``, and everything else the same."""
        alike = all(self.worst[name] <= TOLERANCE for name in ("ttft_s", "tpot_s"))
        return alike and not any(self.differ.values()) and not self.decisions


def agreement(one: Record, other: Record) -> Agreement:
    """Compare two records of the same requests.

    Raises:
        InputError: they do not hold the same requests.
    """
    a, b = _by_id(one), _by_id(other)
    if not np.array_equal(a["id"], b["id"]):
        raise InputError("the two records hold different requests; compare runs of one scenario with one seed")
    worst = {name: _worst(a[name], b[name]) for name in LATENCIES}
    differ = {name: int((a[name] != b[name]).sum()) for name in (*COUNTS, "engine", "outcome")}
    logs = [None if record.decisions is None else list(record.decisions) for record in (one, other)]
    if logs[0] is None or logs[1] is None or any("now_s" not in entry for log in logs for entry in _decided(log or ())):
        return Agreement(len(a["id"]), worst, differ)
    pairs = _paired(logs[0], logs[1])
    unlike = [pair for pair in pairs if not alike(*pair)]
    return Agreement(len(a["id"]), worst, differ, len(unlike), len(pairs), unlike[0] if unlike else None)


def _by_id(record: Record) -> dict[str, NDArray[Any]]:
    table = record.requests
    order = np.argsort(floats(table, "id"), kind="stable")
    numbers = {name: floats(table, name)[order] for name in ("id", *LATENCIES, *COUNTS)}
    for name in ("engine", "outcome"):
        code, names = codes(table, name)
        numbers[name] = np.array([*names, ""], dtype=object)[code][order]
    return numbers


def _worst(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest relative difference; ``inf`` where one of the two has no value."""
    missing = np.isnan(a)
    if not np.array_equal(missing, np.isnan(b)):
        return float("inf")
    a, b = a[~missing], b[~missing]
    return float((np.abs(a - b) / np.maximum(np.abs(b), 1e-12)).max(initial=0.0))


def _decided(log: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [entry for entry in log if entry["point"] not in ("latency", "restart")]


def _paired(a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Decisions of the same decider, in the order in which each made them; an empty one where a world made fewer."""
    series: dict[str, tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]] = {}
    for side, log in enumerate((a, b)):
        for entry in _decided(log):
            decider = entry["engine"] if entry["point"] == "batcher" else entry["point"]
            series.setdefault(decider, ([], []))[side].append(entry)
    pairs: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
    for mine, theirs in series.values():
        length = max(len(mine), len(theirs))
        pairs += zip([*mine, *[{}] * (length - len(mine))], [*theirs, *[{}] * (length - len(theirs))], strict=True)
    return pairs


def alike(a: Any, b: Any) -> bool:
    """Equal as JSON, but for the rounding of floats and for the number under which a latency model is logged."""
    return _alike(json.loads(json.dumps(plain_json(a))), json.loads(json.dumps(plain_json(b))))


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a if key != "latency")
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, float) or isinstance(b, float):
        numbers = isinstance(a, int | float) and isinstance(b, int | float)
        return numbers and abs(a - b) <= _ROUNDING * max(1.0, abs(b))
    return bool(a == b)
