"""One run of a fleet, and how near it is to missing the goal.

The *strain* of a request is the share of its tightest objective that it used (``traces.verdicts``). The strain of a run is that of
the request at the goal's quantile: with a goal of 90 %, nine in ten requests are strained less. It is 1 or below exactly where the
goal is attained, and unlike the attainment it says how far off that is on either side, so that a search needs few runs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.sweep import estimate
from traces.errors import InputError
from traces.intervals import Estimate
from traces.scenario import Scenario, load_scenario

SHOWN = (
    "attainment", "ttft_s.p50", "ttft_s.p99", "tpot_s.mean", "tpot_s.p99", "throughput_tok_s", "usd_per_mtok", "busy", "kv_use.max",
)  # fmt: skip
FORMAT = "plan-2"


@dataclass(frozen=True, slots=True)
class Gauge:
    """``strain`` and its 95 % interval (Woodruff's, from that of the attainment); infinite where so many never finished.
    ``beyond``: where steps left the range of the fingerprint.
    """

    strain: float
    lo: float
    hi: float
    binds: str
    binding: str
    metrics: Mapping[str, Any]
    warnings: tuple[str, ...]
    beyond: tuple[str, ...]

    @property
    def found(self) -> dict[str, Estimate]:
        return {name: estimate(self.metrics, name) for name in SHOWN}


class Gauger:
    """Runs fleets of one scenario. ``cache``: a folder that keeps what was run; ``None`` = nothing."""

    def __init__(self, path: Path, sets: tuple[str, ...], goal: float, cache: Path | None) -> None:
        from sim.pointcache import Keys, PointCache

        self._path, self._sets, self._goal = path, sets, goal
        self._cache = None if cache is None else PointCache(cache)
        self._keys = Keys()
        self.runs = 0

    def __call__(self, sets: tuple[str, ...]) -> Gauge:
        """The gauge of a run with these overrides.

        Raises:
            InputError: the scenario cannot be run with them.
        """
        scenario = load_scenario(self._path, (*self._sets, *sets, "extrapolate=true"))
        self.runs += 1
        if self._cache is None:
            return gauge(scenario, self._goal)
        key = hashlib.sha256(f"{FORMAT} {self._goal:.6g} {self._keys.key(scenario)}".encode()).hexdigest()
        if (text := self._cache.get(key)) is not None:
            return _from_json(text)
        found = gauge(scenario, self._goal)
        try:
            self._cache.put(key, json.dumps(asdict(found)))
        except OSError:
            self._cache = None
        return found


def _from_json(text: str) -> Gauge:
    data = json.loads(text)
    return Gauge(**{**data, "warnings": tuple(data["warnings"]), "beyond": tuple(data["beyond"])})


def gauge(scenario: Scenario, goal: float) -> Gauge:
    """Simulate, and read the strain.

    Raises:
        InputError: the scenario cannot be run.
    """
    from sim.run import simulate
    from traces.diagnosis import scarce
    from traces.metrics import summarise

    record = simulate(scenario)
    summary = summarise(record)
    metrics = summary.to_json()["metrics"]
    attained = summary.metrics["attainment"]
    strain = strains(record)
    if not len(strain):
        raise InputError("no request with an objective arrives in the measured window; give a longer duration or a shorter warmup")
    ends = [0.0 if end is None or attained.value is None else end - attained.value for end in (attained.lo, attained.hi)]
    at, low, high = (_quantile(strain, goal + shift) for shift in (0.0, ends[0], ends[1]))
    kept = {f"{name}{part}": metrics.get(f"{name}{part}") for name in SHOWN for part in ("", ".lo", ".hi", ".n", ".note")}
    return Gauge(
        at,
        min(low, at),
        max(high, at),
        scarce(record, summary),
        summary.binding,
        kept,
        tuple(w for w in summary.warnings if not w.startswith("extrapolated")),
        tuple(record.manifest["extrapolated"]),
    )


def strains(record: Any) -> np.ndarray:
    """Of the measured requests that are judged, sorted; shape (n,)."""
    from traces.tables import floats
    from traces.verdicts import judge

    verdicts = judge(record.requests)
    start_s, end_s = record.window_s
    arrival = floats(record.requests, "arrival_s")
    measured = verdicts.judged & (arrival >= start_s) & (arrival < end_s)
    strain = np.where(verdicts.met, np.minimum(verdicts.strain, 1.0), verdicts.strain)
    strain = np.where(~verdicts.met & ~(strain > 1), np.inf, strain)
    return np.sort(strain[measured])


def _quantile(ordered: np.ndarray, share: float) -> float:
    """The least strain that so large a share of the requests does not exceed."""
    place = math.ceil(min(max(share, 0.0), 1.0) * len(ordered) - 1e-9) - 1
    return float(ordered[min(max(place, 0), len(ordered) - 1)])
