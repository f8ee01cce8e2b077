"""A comparison and a sweep without a simulation, under any names."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sim.compare import Experiment
from sim.sweep import Point, PointResult, SweepResult
from traces.compare import Comparison, Difference, Finding
from traces.divergence import Choice, Divergence
from traces.matching import ALL

METRICS = {"attainment": 0.9, "goodput_req_s": 50.0, "ttft_s.p99": 0.4, "tpot_s.p99": 0.02, "usd_per_mtok": 0.5}


def comparison(
    names: tuple[str, str] = ("calm", "bold"), tier: str = "chat", engine: str = "e0", warning: str = "short"
) -> Experiment:
    """B attains more and is slower to its first token."""
    found = []
    for group in (ALL, tier):
        for metric, a in METRICS.items():
            sign, finding = (1, Finding.SHOWN) if metric in ("attainment", "ttft_s.p99") else (0, Finding.NOT_SHOWN)
            half = 0.02 * a
            found.append(
                Difference(
                    group, metric, a, a * (1 + 0.05 * sign), a * 0.05 * sign - half, a * 0.05 * sign + half, 500, finding, 4.0
                )
            )
    seen = {"running_count": 3, "waiting_count": 0, "pending_prefill_tokens": 120, "kv_tokens_used": 9000, "score": 2.5}
    apart = Divergence(
        7, tier, 1200, Choice("Assign", engine, f"least of {engine}", 2.5, 1.25), Choice("Shed", None, warning, None, 1.25), True,
        {engine: (seen, None)},
    )  # fmt: skip
    return Experiment(Comparison(names, (3, 4, 5), found, 0.25, [warning]), [warning], [apart])


def sweep(
    values: Sequence[str] = ("4", "8", "16"),
    routers: Sequence[str] = ("vllm", "random"),
    tier: str = "chat",
    warning: str = "short",
) -> SweepResult:
    """Attainment falls along the rate, and random is worse; the last point failed."""
    results = []
    for i, value in enumerate(values):
        for k, router in enumerate(routers):
            point = Point((f"workload.chat.rate={value}", f"policy.router={router}"), 7)
            flat: dict[str, float | int | str | None] = {}
            for metric, base in METRICS.items():
                v = max(0.0, base * (1 - 0.2 * i - 0.1 * k))
                flat |= {
                    metric: v,
                    f"{metric}.lo": 0.95 * v,
                    f"{metric}.hi": 1.02 * v,
                    f"{metric}.n": 400,
                    f"{metric}.note": warning,
                }
            text = json.dumps({"scenario": "s", "metrics": flat, "tiers": {tier: flat}, "warnings": [warning]})
            results.append(PointResult(point, "00ff", text))
    point = Point((f"workload.chat.rate={values[-1]}0", f"policy.router={routers[-1]}"), 7)
    return SweepResult([*results, PointResult(point, faults=(f"{warning}: no room",))])
