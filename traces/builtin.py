"""Workloads that need no file: public traces described by a few hundred numbers each, from ``builtin.json``.

``traces.fit`` measured them on the sources named there. How close draws come (50,000 requests;
``tests/traces/test_builtin.py``): means of lengths within 3 %, percentiles as published, Spearman within 0.03, rates exact in
the long run. Of arXiv's requests 2 % are longer than 4,096 tokens in all, which the source allows none.

Arrivals. Azure's conversations follow the rate per minute: index of dispersion in windows of 1 / 10 / 60 s 1.24 / 3.3 / 15 (the
trace: 1.34 / 3.5 / 15.5). Azure's code comes in independent bursts: 9 / 50 / 130 (13 / 70 / 159), as busy minutes with dense
bursts are not kept. Mooncake is Poisson at the rate per minute, not on the file's 3-second ticks. ServeGen is all 73 clients
together, whose own CV is 2.35: CV 2.23 gives their variance / mean in 10 s averaged over 18 hours, but half of the 10-minute
windows are below 1.9, a tenth above 13.

Mooncake's prefix blocks, over as many requests as the trace has: an endless cache would hit 0.33 to 0.36 of the blocks (the
trace: 0.35), and of a request at p25 / p50 / p75 / p90 0.06 / 0.31 / 0.62 / 0.92 of its blocks (0.06 / 0.31 / 0.63 / 0.93); LRU
caches of 1,000 / 10,000 / 30,000 blocks 0.05 / 0.23 / 0.32 (0.04 / 0.21 / 0.32). 76 % of the blocks are used once (77 %), the
first by every request. Longer runs share a little more: fewer conversations began before their start. A turn does not remember
the output of the turn before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traces.arrivals import ArrivalProcess, Bursts, Gamma, Poisson, VaryingRate
from traces.lengths import Copula, LengthModel, RankCorrelation, RankGrid
from traces.prefixes import PrefixModel
from traces.quantiles import QuantileTable


@dataclass(frozen=True, slots=True)
class BuiltinWorkload:
    """A described trace. ``requests``: how many it was measured on, and how many it has unless asked otherwise.

    ``arrivals`` is ``None`` for lists of lengths, ``prefix`` for traces that tell no prefix blocks.
    """

    name: str
    summary: str
    source: str
    licence: str
    citation: str
    requests: int
    lengths: LengthModel
    arrivals: ArrivalProcess | None = None
    prefix: PrefixModel | None = None


def _load() -> dict[str, BuiltinWorkload]:
    document = json.loads(Path(__file__).with_name("builtin.json").read_text("utf-8"))
    percent = tuple(document["percent"])
    return {name: _workload(name, percent, entry) for name, entry in document["workloads"].items()}


def _workload(name: str, percent: tuple[float, ...], entry: Mapping[str, Any]) -> BuiltinWorkload:
    lengths, arrivals, prefix = entry["lengths"], entry.get("arrivals"), entry.get("prefix")
    return BuiltinWorkload(
        name=name,
        **{key: entry[key] for key in ("summary", "source", "licence", "citation", "requests")},
        lengths=LengthModel(
            QuantileTable(percent, tuple(lengths["prompt_tokens"])),
            QuantileTable(percent, tuple(lengths["output_tokens"])),
            _copula(lengths),
        ),
        arrivals=None if arrivals is None else _arrivals(percent, arrivals),
        prefix=None if prefix is None else _prefix(prefix),
    )


def _copula(entry: Mapping[str, Any]) -> Copula:
    if "rank_grid" in entry:
        return RankGrid(tuple(map(tuple, entry["rank_grid"])))
    return RankCorrelation(entry["spearman"])


def _arrivals(percent: tuple[float, ...], entry: Mapping[str, Any]) -> ArrivalProcess:
    if entry["process"] == "bursts":
        return Bursts(*(QuantileTable(percent, tuple(entry[key])) for key in ("sizes", "gaps_within_s", "gaps_between_s")))
    within = Poisson() if entry["cv"] == 1 else Gamma(entry["cv"])
    return VaryingRate(tuple(entry["rates"]), entry["step_s"], within)


def _prefix(entry: Mapping[str, Any]) -> PrefixModel:
    return PrefixModel(
        block_tokens=entry["block_tokens"],
        bands=tuple(entry["bands"]),
        continues=tuple(entry["continues"]),
        shared_percent=tuple(entry["shared_percent"]),
        shared=tuple(map(tuple, entry["shared"])),
        lag=QuantileTable(tuple(entry["lag_percent"]), tuple(entry["lag"])),
    )


BUILTIN: Mapping[str, BuiltinWorkload] = _load()
"""Every built-in workload by name."""
