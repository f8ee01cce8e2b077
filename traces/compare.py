"""Two arms of an experiment, run by run under the same seeds: by how much does each metric differ, and is that more than chance?

Requests are matched by ``traces.matching``, differences taken by ``traces.paired``. ITL is not compared: a histogram of gaps has
forgotten which request they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from traces.controls import Controls
from traces.errors import InputError
from traces.matching import ALL, Matched
from traces.paired import ENOUGH_SEEDS, Contrast, Pooled, pool, stands
from traces.record import Record

HEADLINE = (ALL, "attainment")
"""The one difference that is judged by itself; all others are judged together."""
_SHARES = ("attainment", "attainment_admitted", "prefix_hit", "busy")
_ROUNDING = 1e-9


class Finding(StrEnum):
    """What the interval of a difference says."""

    SAME = "same"
    """There is no difference, not by a digit."""
    NOT_SHOWN = "not shown"
    """The interval holds 0."""
    ALONE = "shown alone"
    """The interval does not hold 0, but among so many comparisons one such may be due to chance (Holm at 5 %)."""
    SHOWN = "shown"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one metric (a key of ``traces.metrics``) in one group, ``all`` or a tier.

    ``lo``, ``hi``: 95 % interval of B − A, in the metric's unit. ``n``: requests behind it, in the arm that has fewer.
    ``gain``: by how much sharing random numbers cut the variance of the difference, as far as these runs tell.
    """

    group: str
    metric: str
    a: float
    b: float
    lo: float | None
    hi: float | None
    n: int
    finding: Finding
    gain: float | None
    note: str = ""

    @property
    def difference(self) -> float:
        return self.b - self.a


@dataclass(frozen=True, slots=True)
class Comparison:
    """``differences``: all that both arms have, by group. ``apart_share``: share of requests that another engine served in B than
    in A. ``notes``: what a reader must know of the pairing.
    """

    names: tuple[str, str]
    seeds: Sequence[int]
    differences: Sequence[Difference]
    apart_share: float
    notes: Sequence[str]

    def groups(self) -> list[str]:
        """``all``, and the tiers if there are several."""
        return list(dict.fromkeys(d.group for d in self.differences))

    def get(self, metric: str, group: str = ALL) -> Difference | None:
        """One difference, if both arms have it."""
        return next((d for d in self.differences if (d.metric, d.group) == (metric, group)), None)

    def multiplicity(self) -> str:
        """How far many intervals can be read side by side."""
        judged = sum(d.finding not in (Finding.SAME, Finding.UNKNOWN) for d in self.differences)
        alone = sum(d.finding is Finding.ALONE for d in self.differences)
        if judged < 2:
            return ""
        doubt = f"{alone} of those shown may be among them" if alone else "none of those shown is likely to be among them"
        return f"of {judged} intervals, about {max(1, round(0.05 * judged))} miss 0 by chance alone; {doubt} (Holm at 5 %)"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "names": list(self.names),
            "seeds": list(self.seeds),
            "groups": {
                group: {
                    d.metric: {
                        **{key: getattr(d, key) for key in ("a", "b", "difference", "lo", "hi", "n", "gain", "finding")},
                        **({"note": d.note} if d.note else {}),
                    }
                    for d in self.differences
                    if d.group == group
                }
                for group in self.groups()
            },
            "apart_share": self.apart_share,
            "notes": list(self.notes),
            "multiplicity": self.multiplicity(),
        }


@dataclass(frozen=True, slots=True)
class Pair:
    """One seed's two runs, reduced to what a comparison needs.

    ``apart``: the first requests that were not served by the same engine, id in arm A and the later of the two arrivals;
    ``apart_share``: how many are there, as a share of those in both arms.
    """

    seed: int
    contrasts: Mapping[tuple[str, str], Contrast]
    notes: Sequence[str]
    identical: bool
    apart: Sequence[tuple[int, float]]
    apart_share: float


def compare(a: Sequence[Record], b: Sequence[Record], names: tuple[str, str] = ("A", "B")) -> Comparison:
    """Runs of arm A and of arm B, paired by seed.

    Raises:
        InputError: the arms were not run with the same seeds, or do not serve the same requests.
    """
    return conclude([pair(one, other, names) for one, other in _by_seed(a, b)], names)


def pair(a: Record, b: Record, names: tuple[str, str] = ("A", "B")) -> Pair:
    """Match the requests of two runs and take every difference.

    Raises:
        InputError: they do not serve the same requests.
    """
    matched = Matched(a, b, names)
    contrasts = {
        (group, metric): found for group, tier in matched.groups() for metric, found in matched.contrasts(tier) if found is not None
    }
    return Pair(int(a.manifest["seed"]), contrasts, list(matched.notes()), matched.identical, *matched.apart())


def conclude(pairs: Sequence[Pair], names: tuple[str, str] = ("A", "B"), controls: Controls | None = None) -> Comparison:
    """What all seeds say together. ``controls``: of the seeds' workloads, in the order of ``pairs``."""
    keys = [key for key in pairs[0].contrasts if all(key in p.contrasts for p in pairs)]
    pooled = {key: pool([p.contrasts[key] for p in pairs], controls) for key in keys}
    identical = all(p.identical for p in pairs)
    differ = [key for key in keys if not _same(pooled[key], identical)]
    family = [key for key in differ if key != HEADLINE]
    clear = dict.fromkeys(differ, True) | dict(zip(family, stands([pooled[key].p for key in family]), strict=True))
    differences = [
        Difference(group, metric, e.a, e.b, *_possible(metric, e), e.n, _finding(e, clear.get((group, metric))), e.gain, e.note)
        for (group, metric), e in pooled.items()
    ]
    notes = dict.fromkeys(note for p in pairs for note in p.notes)
    if controls is not None and controls.usable and len(pairs) >= ENOUGH_SEEDS:
        notes[
            f"all figures are those of an average workload: what the tokens that each seed happens to draw, beside those of "
            f"{len(controls.drawn)} further draws, explain of it is taken out (control variates)"
        ] = None
    apart = float(np.mean([p.apart_share for p in pairs]))
    return Comparison(names, [p.seed for p in pairs], differences, apart, list(notes))


def _possible(metric: str, e: Pooled) -> tuple[float | None, float | None]:
    """The interval, as far as the difference can be there."""
    if metric not in _SHARES or e.lo is None or e.hi is None:
        return e.lo, e.hi
    return max(e.lo, -1.0), min(e.hi, 1.0)


def _same(e: Pooled, identical: bool) -> bool:
    if identical or e.lo is None or e.hi is None:
        return identical
    return max(abs(e.lo), abs(e.hi)) <= _ROUNDING * max(abs(e.a), abs(e.b))


def _finding(e: Pooled, clear: bool | None) -> Finding:
    if clear is None:
        return Finding.SAME
    if e.lo is None or e.hi is None:
        return Finding.UNKNOWN
    if e.lo <= 0 <= e.hi:
        return Finding.NOT_SHOWN
    return Finding.SHOWN if clear else Finding.ALONE


def _by_seed(a: Sequence[Record], b: Sequence[Record]) -> list[tuple[Record, Record]]:
    seeds = [[int(r.manifest["seed"]) for r in arm] for arm in (a, b)]
    for arm, found in zip("AB", seeds, strict=True):
        if len(set(found)) < len(found):
            raise InputError(f"arm {arm}: holds two runs with the same seed; give one run per seed")
    if len(a) == len(b) == 1:
        return [(a[0], b[0])]  # whether they serve the same requests is seen from the requests
    if set(seeds[0]) != set(seeds[1]) or not seeds[0]:
        shown = [", ".join(map(str, sorted(found))) or "none" for found in seeds]
        raise InputError(f"seeds: arm A ran with {shown[0]}, arm B with {shown[1]}; run both with the same seeds")
    other = dict(zip(seeds[1], b, strict=True))
    return [(one, other[seed]) for seed, one in zip(seeds[0], a, strict=True)]
