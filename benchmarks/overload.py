"""How often is a run called overloaded, and how often is it asked for a longer warm-up? By load and by duration.

    python -m benchmarks.overload                fleets that the rules were not tuned on; about ten minutes on two cores
    python -m benchmarks.overload --tuned        the fleets that they were tuned on

Load is the offered rate over what the fleet serves when it is flooded. Above 1 a run that is not called overloaded is a miss, below
1 one that is called so is a false alarm; at 1 either is right.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import numpy as np

from benchmarks.fleets import TUNED, UNSEEN, Fleet, each
from traces.metrics import summarise

LOADS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
DURATIONS_S = (60, 120, 300, 600)


def judged(fleet: Fleet, sets: Sequence[str], seed: int) -> tuple[bool, bool]:
    """Whether a run is called overloaded, and whether it is asked for a longer warm-up."""
    warnings = summarise(fleet.run(seed, *sets)).warnings
    return any("overloaded" in w for w in warnings), any("still filling" in w for w in warnings)


def table(fleets: dict[str, Fleet], runs: int, jobs: int | None) -> None:
    """Shares of runs, printed row by row."""
    alarms: dict[tuple[int, float], list[float]] = {}
    columns = ["fleet", "sustains", "arrivals for", *(f"{load:g}" for load in LOADS)]
    print(f"Called overloaded, and asked for a longer warm-up, of {runs} runs at each load\n")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, fleet in fleets.items():
        capacity = fleet.capacity_per_s()
        for seconds in DURATIONS_S:
            cells = []
            for load in LOADS:
                sets = (f"workload.load.rate={load * capacity!r}/s", f"duration={seconds}s", "warmup=0s", "sim.steps=off")
                shares = np.array(each(partial(judged, fleet, sets), range(10_000, 10_000 + runs), jobs)).mean(axis=0)
                alarms.setdefault((seconds, load), []).append(float(shares[0]))
                cells.append("{:.0%}, {:.0%}".format(*shares))
            print(f"| {name} | {capacity:.1f}/s | {seconds} s | {' | '.join(cells)} |", flush=True)
    light, heavy = [load for load in LOADS if load < 1], [load for load in LOADS if load > 1]
    headings = [*(f"false alarms at {load:g}" for load in light), *(f"misses at {load:g}" for load in heavy)]
    print(f"\n| arrivals for | {' | '.join(headings)} |\n|{'---|' * (1 + len(headings))}")
    for seconds in DURATIONS_S:
        share = {load: float(np.mean(alarms[seconds, load])) for load in LOADS}
        told = [*(share[load] for load in light), *(1 - share[load] for load in heavy)]
        print(f"| {seconds} s | {' | '.join(f'{cell:.0%}' for cell in told)} |")


def main(arguments: Sequence[str]) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="runs per cell")
    parser.add_argument("--tuned", action="store_true", help="the fleets that the rules were tuned on")
    parser.add_argument("--jobs", type=int, help="processes; default: one per core")
    options = parser.parse_args(arguments)
    table(TUNED if options.tuned else UNSEEN, options.runs, options.jobs)


if __name__ == "__main__":
    main(sys.argv[1:])
