"""How often is a run called overloaded, and how often is it said to be too short to tell? By load and by duration.

    python -m benchmarks.overload                fleets that the rules were not tuned on, and one that they were; about ten minutes
    python -m benchmarks.overload --tuned        all fleets that they were tuned on

Load is the offered rate over what the fleet sustains (``Fleet.capacity_per_s``); runs begin with an empty fleet and cold caches.
Above 1 a run that is not called overloaded is a miss, below 1 one that is called so is a false alarm; at 1 either is right. A miss
is *told* if the run says that it is too short: that whether the fleet keeps up is open, or that it lasts no longer than a few
requests take.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import numpy as np

from benchmarks.fleets import TUNED, UNSEEN, Fleet, chosen, each
from traces.metrics import summarise

LOADS = (0.7, 0.8, 0.9, 0.95, 1.0, 1.1, 1.2, 1.3)
DURATIONS_S = (60, 120, 300)
AGAIN = "70B chat on H100"
"""Had been called overloaded while it filled, in minutes at 70 to 90 % load; shown beside the others since."""
_FIRST_SEED = 200_000
"""Of seeds that no rule has seen."""


def judged(fleet: Fleet, sets: Sequence[str], seed: int) -> tuple[bool, bool]:
    """Whether a run is called overloaded; if not, whether it says that it is too short to tell."""
    warnings = summarise(fleet.run(seed, *sets)).warnings
    overloaded = any("the fleet is overloaded" in w for w in warnings)
    return overloaded, not overloaded and any("keeps up is open" in w or "is short beside a request" in w for w in warnings)


def table(fleets: dict[str, Fleet], runs: int, jobs: int | None) -> None:
    """Shares of runs, printed row by row, and over all fleets."""
    seeds = range(_FIRST_SEED, _FIRST_SEED + runs)
    seen: dict[tuple[int, float], list[tuple[float, float]]] = {}
    columns = ["fleet", "sustains", "arrivals for", *(f"{load:g}" for load in LOADS)]
    print(f"Called overloaded; and else, said to be too short to tell; of {runs} runs at each load\n")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, fleet in fleets.items():
        capacity = fleet.capacity_per_s()
        for seconds in DURATIONS_S:
            cells = []
            for load in LOADS:
                sets = (f"workload.load.rate={load * capacity!r}/s", f"duration={seconds}s", "warmup=0s", "sim.steps=off")
                alarm, told = np.array(each(partial(judged, fleet, sets), seeds, jobs)).mean(axis=0)
                seen.setdefault((seconds, load), []).append((float(alarm), float(told)))
                cells.append(f"{alarm:.0%}; {told:.0%}")
            print(f"| {name} | {capacity:.1f}/s | {seconds} s | {' | '.join(cells)} |", flush=True)
    light, heavy = [load for load in LOADS if load < 1], [load for load in LOADS if load > 1]
    headings = [*(f"false alarms at {load:g}" for load in light), *(f"misses (untold) at {load:g}" for load in heavy)]
    print(f"\n| arrivals for | {' | '.join(headings)} |\n|{'---|' * (1 + len(headings))}")
    for seconds in DURATIONS_S:
        share = {load: np.mean(seen[seconds, load], axis=0).tolist() for load in LOADS}
        cells = [f"{share[load][0]:.0%}" for load in light]
        cells += [f"{1 - share[load][0]:.0%} ({1 - sum(share[load]):.0%})" for load in heavy]
        print(f"| {seconds} s | {' | '.join(cells)} |")


def main(arguments: Sequence[str]) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="runs per cell")
    parser.add_argument("--tuned", action="store_true", help="the fleets that the rules were tuned on")
    parser.add_argument("--fleet", action="append", default=[], metavar="NAME", help="this one alone; may be repeated")
    parser.add_argument("--jobs", type=int, help="processes; default: one per core")
    options = parser.parse_args(arguments)
    fleets = TUNED if options.tuned else {**UNSEEN, AGAIN: TUNED[AGAIN]}
    table(chosen(fleets, options.fleet), options.runs, options.jobs)


if __name__ == "__main__":
    main(sys.argv[1:])
