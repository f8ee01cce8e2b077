"""How fast is PolyServe? A large fleet under a steady load, on one core.

    python -m benchmarks.polyserve [--engines 1000] [--rate 2000] [--minutes 10]

Llama-3.1-8B on H200s, Azure's conversations, tiers of 20, 30, 50 and 100 ms TPOT at 10/20/30/40 %, the whole stack (router, scaler,
batcher) from an almost empty fleet on. Prints the time of the run, that of the router's decisions, and what came of the requests.
"""

from __future__ import annotations

import argparse
import time
from array import array

import numpy as np

from policies.decisions import Routing
from policies.polyserve.router import PolyServe
from policies.types import FleetView, RequestView
from sim.run import simulate
from traces.metrics import summarise
from traces.scenario import Scenario

TIERS = ((0.1, 20), (0.2, 30), (0.3, 50), (0.4, 100))
_TAKEN_NS = array("q")


class Timed(PolyServe):
    """PolyServe's router with a stopwatch, which runs while the process has a core."""

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        began = time.thread_time_ns()
        decision = super().route(request, fleet)
        _TAKEN_NS.append(time.thread_time_ns() - began)
        return decision


def scenario(engines: int, rate: float, minutes: float) -> Scenario:
    """The fleet and its load; an engine of each tier is up at the start."""
    mix = [{"share": share, "tier": f"{ms}ms", "slo": {"ttft": "500ms", "tpot": f"{ms}ms"}} for share, ms in TIERS]
    return Scenario.model_validate(
        {
            "name": "polyserve",
            "model": "llama-3.1-8b",
            "fleet": [
                *({"name": f"first-{ms}ms", "gpu": "h200", "gpus": 1, "tier": f"{ms}ms", "start_up": "0s"} for _, ms in TIERS),
                {"name": "pool", "gpu": "h200", "gpus": engines - 4, "parked": engines - 4, "start_up": "0s"},
            ],
            "engine": {"enable_prefix_caching": False},
            "workload": [{"name": "chat", "trace": "azure-2023-conv", "arrivals": "poisson", "rate": rate, "slo_mix": mix}],
            "policy": {"router": "benchmarks.polyserve:Timed", "scaler": "polyserve", "batcher": "polyserve"},
            "duration": 60 * minutes,
            "warmup": 6 * minutes,
            "drain": "1min",
            "sim": {"steps": False},
            "seed": 1,
        }
    )


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    from benchmarks import polyserve  # the module that the scenario names, which is another one than __main__

    asked = scenario(options.engines, options.rate, options.minutes)
    cpu, wall = time.process_time(), time.perf_counter()
    record = simulate(asked)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    taken = np.array(polyserve._TAKEN_NS) / 1e3
    told = summarise(record, "dslo")
    up = told.metrics["gpu_s"].value or 0.0
    print(f"{options.engines} engines, {options.rate:g} requests/s for {options.minutes:g} simulated minutes")
    print(f"{record.requests.num_rows:,} requests in {wall:.0f} s ({cpu:.0f} s of CPU time) on one core")
    p50, p99 = np.quantile(taken, [0.5, 0.99])
    print(f"{len(taken):,} decisions of the router: p50 {p50:.0f} µs, p99 {p99:.0f} µs, mean {taken.mean():.0f} µs")
    measured = record.window_s[1] - record.window_s[0]
    attained = told.metrics["attainment"].value
    print(f"{up / measured:.0f} engines up on average; {100 * (attained or 0):.1f} % of requests attain their DSLO")


if __name__ == "__main__":
    main()
