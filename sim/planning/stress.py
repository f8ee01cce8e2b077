"""How far the best answer carries, and what shakes it: more load, longer or shorter requests, other acceptance of drafts.

Each change is run with the same seeds as the answer itself. How much more engines it takes is a ratio of what both need in equal
runs, so that runs shorter than the scenario do not shift the answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sim.backends import run_all
from sim.planning.demand import at_load, with_acceptance, with_lengths
from sim.planning.gauge import Gauge
from sim.planning.question import Alternative, Headroom, Shaken
from sim.planning.sizing import FINE, Ladder, need, rungs
from sim.planning.trial import Setting, Trial, attempt
from traces.errors import InputError
from traces.scenario import Scenario, load_scenario

SHAKE = 0.2
SEEDS = 2
_DRAFTS = "draft acceptance"
_CHANGES = ("load", "prompt lengths", "output lengths", _DRAFTS)


def stressed(
    setting: Setting, best: Alternative, cut: tuple[str, ...], jobs: int | None, told: Callable[[int, int], None]
) -> tuple[Headroom | None, list[Shaken]]:
    """Headroom to the knee, and the answer under ± 20 % of each of what was assumed."""
    assert best.engines is not None
    arm, scenario = best.arm, load_scenario(setting.path, (*setting.sets, *best.arm.deployed()))
    by_load = replace(setting, aim="rate")
    given = replace(arm, engines=best.engines)
    by_rate = setting.aim == "rate"
    changes, skipped = _changes(scenario, by_rate)
    trials: list[tuple[str, float, Trial]] = []
    start = _start(setting, best)
    for seed in range(SEEDS):
        trials.append(("base", 1.0, Trial(setting, arm, cut, seed, start)))
        if not by_rate:
            knee = by_load.ladder(given).rung(min(best.need / best.engines, 1.0))
            trials.append(("headroom", 1.0, Trial(by_load, given, cut, seed, knee)))
        trials += [(what, factor, Trial(setting, arm, (*cut, *sets), seed, start)) for what, factor, sets in changes]
    runs: dict[tuple[str, float], list[Mapping[int, Gauge]]] = {}
    for done, (index, tried) in enumerate(run_all(attempt, [trial for _, _, trial in trials], jobs=jobs), 1):
        what, factor, _ = trials[index]
        if tried.faults:
            skipped.append(Shaken(what, factor, None, note=tried.faults[0]))
        else:
            runs.setdefault((what, factor), []).append(tried.found)
        told(done, len(trials))
    base = _needs(runs.pop(("base", 1.0), []), setting.ladder(arm))
    beyond = runs.pop(("headroom", 1.0), [])
    scale = best.need / _geometric(base) if base and cut else 1.0
    head = _headroom(beyond, by_load.ladder(given), scale) if beyond else None
    shaken = [_shaken(what, factor, found, setting, best, base, bool(cut)) for (what, factor), found in runs.items()]
    order = {what: i for i, what in enumerate(_CHANGES)}
    return head, sorted([*shaken, *skipped], key=lambda one: (order.get(one.what, 9), one.factor))


def _start(setting: Setting, best: Alternative) -> int:
    """The rung of the answer, so that what it attains is known when something else comes."""
    ladder = setting.ladder(best.arm)
    return ladder.rung(best.need) if setting.aim == "rate" else ladder.clipped(best.engines or 1)


def _changes(scenario: Scenario, by_rate: bool) -> tuple[list[tuple[str, float, tuple[str, ...]]], list[Shaken]]:
    found, skipped = [], []
    for factor in (1 - SHAKE, 1 + SHAKE):
        if not by_rate:
            try:
                found.append(("load", factor, at_load(scenario, factor)))
            except InputError as error:
                skipped.append(Shaken("load", factor, None, note=error.faults[0]))
        found.append(("prompt lengths", factor, with_lengths(scenario, "prompt_factor", factor)))
        found.append(("output lengths", factor, with_lengths(scenario, "output_factor", factor)))
        if sets := with_acceptance(scenario, factor):
            found.append((_DRAFTS, factor, sets))
    return found, skipped


def _needs(runs: Sequence[Mapping[int, Gauge]], ladder: Ladder) -> list[float]:
    return [found.value for one in runs if (found := need(one, ladder)) is not None]


def _geometric(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _headroom(runs: Sequence[Mapping[int, Gauge]], ladder: Ladder, scale: float) -> Headroom | None:
    """``scale``: what the whole run needs over what the short ones do, which all have in common."""
    found = [one for run in runs if (one := need(run, ladder)) is not None]
    if len(found) < len(runs):
        return None
    load = 1 / (_geometric([one.value for one in found]) * scale)
    ends = []
    for end in ("lo", "hi"):
        logs = [math.log(getattr(one, end) / one.value) for one in found]
        ends.append(math.sqrt(math.fsum(x * x for x in logs)) / len(logs))
    spread = max(abs(math.log(one.value) - math.log(_geometric([o.value for o in found]))) for one in found)
    low, high = (max(end, spread, math.log(FINE)) for end in (ends[1], ends[0]))
    missed, _ = rungs(runs[0])
    return Headroom(load, load * math.exp(-low), load * math.exp(high), len(found), "" if missed is None else runs[0][missed].binds)


def _shaken(
    what: str,
    factor: float,
    runs: Sequence[Mapping[int, Gauge]],
    setting: Setting,
    best: Alternative,
    base: Sequence[float],
    cut: bool,
) -> Shaken:
    ladder = setting.ladder(best.arm)
    needs = _needs(runs, ladder)
    assert best.engines is not None
    here = [one[best.engines].metrics["attainment"] for one in runs if best.engines in one and setting.aim != "rate"]
    attained = math.fsum(here) / len(here) if here else None
    if not base:
        return Shaken(what, factor, None, attainment=attained, note="short runs of the answer itself do not hold")
    if len(needs) < len(runs):
        return Shaken(what, factor, None, attainment=attained)
    if setting.aim == "rate":
        return Shaken(what, factor, best.engines, best.rate_per_s * _geometric(base) / _geometric(needs))
    if cut:
        engines = math.ceil(best.need * _geometric(needs) / _geometric(base) - 1e-6)
    else:
        engines = max(rungs(one)[1] or 1 for one in runs)
    engines = max(1, engines)
    return Shaken(what, factor, engines if engines <= ladder.most else None, attainment=attained)
