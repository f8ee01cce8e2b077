"""A plan on one page: the answer, what could change it, what there is to choose from, and the trade between users and GPUs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from figures.pages.page import render
from figures.panels import Panel
from figures.planning import words
from figures.planning.prices import Prices
from figures.planning.table import columns
from figures.style import series_tone
from figures.svg import Axis, Chart, Line, Points, log_axis
from figures.units import number, share
from sim.planning.question import Alternative, Plan
from traces.candidates import steady_of
from traces.hardware import GPUS

MOST_ROWS = 200
_CURVE = 40
_LITTLE = 30


def plan_page(plan: Plan, name: str, prices: Prices) -> str:
    """The page as text. ``name``: of the scenario."""
    best = plan.best
    table = columns(plan)
    refused: dict[str, list[str]] = {}
    for r in plan.refusals:
        for reason in r.reasons:
            refused.setdefault(reason, []).append(f"{words.engine(r.arm)}, {words.policy(r.arm)}")
    marks = sorted({a.candidate.provenance for a in plan.alternatives if a.candidate.provenance in words.MARKS})
    return render(
        "plan.html.j2",
        sections=[("pareto", "Users against GPUs"), ("alternatives", "Alternatives"), ("how", "How")],
        name=name,
        head=words.answer(plan).partition(":")[0],
        standing="met" if best is not None else "missed",
        answer=words.answer(plan),
        demand=words.demand(plan),
        facts=[
            (label, text)
            for label, text in (
                ("What binds", words.binds(plan)),
                ("Headroom", words.headroom(plan)),
                ("Order", words.order(plan)),
                ("Policies on it", words.policies(plan)),
            )
            if text
        ],
        shaken=[_shaken(plan, best, i) for i in range(len(plan.shaken))] if best is not None else [],
        by_rate=plan.question.aim == "rate",
        warnings=[*(best.warnings if best is not None else ()), *(f"{'; '.join(a)}: refused, {why}" for why, a in refused.items())],
        panel=_pareto(plan),
        headings=[heading for heading, _, _ in table],
        rows=[[text(a) for _, text, _ in table] for a in plan.alternatives[:MOST_ROWS]],
        firsts=2 if table[1][0] == "policy" else 1,
        left_out=max(0, len(plan.alternatives) - MOST_ROWS),
        legend=[(words.MARKS[mark], f"step times are {mark}: {words.SAID[mark]}") for mark in marks],
        considered=words.considered(plan),
        prices=prices.told(),
        price_rows=[
            (GPUS[gpu].title, words.usd(plan.question.usd_per_gpu_hour.get(gpu, GPUS[gpu].usd_per_hour)))
            for gpu in plan.question.gpus
        ],
    )


def _shaken(plan: Plan, best: Alternative, i: int) -> Mapping[str, str]:
    one = plan.shaken[i]
    attained = "" if one.attainment is None else share(one.attainment)
    return {"change": words.changed(one), "verdict": words.shaken(one, best), "attained": attained}


def _pareto(plan: Plan) -> Panel | None:
    """Each GPU type: what its best engine does in closed form at any load, and the alternatives as simulated."""
    placed: dict[str, list[Alternative]] = {}
    for a in plan.alternatives:
        if a.tokens_s_per_user and a.tokens_s_per_gpu:
            placed.setdefault(a.candidate.configuration.gpu, []).append(a)
    if not placed:
        return None
    marks: list[Line | Points] = []
    for i, (kind, mine) in enumerate(placed.items()):
        marks.append(Line(*_curve(plan, mine[0]), series_tone(i), kind))
        unknown = np.array([math.nan])
        for a in mine:
            at = np.array([a.tokens_s_per_user]), np.array([a.tokens_s_per_gpu])
            marks.append(Points(*at, unknown, unknown, series_tone(i), told=[_dot(a)]))
    best = "; ".join(_dot(a) for a in plan.alternatives if a.front)
    title = "Output tokens per second and GPU against tokens per second and user"
    lines = "lines the first engine of each GPU type at any load, in closed form, without bursts"
    told = f"Dots are alternatives at the size that meets the objectives, {lines}. On the front: {best}."
    x, y = ([float(v) for m in marks for v in getattr(m, name)] for name in ("x", "y"))
    chart = Chart("pareto-plot", title, told, _axis(x), _axis(y), marks, 300)
    return Panel("Output tok/s/GPU (up) against output tok/s/user (right)", "logarithmic", chart, told)


def _dot(a: Alternative) -> str:
    told = f"{number(a.tokens_s_per_gpu)} tok/s a GPU, {number(a.tokens_s_per_user)} tok/s a user"
    return f"{words.engine(a.arm)}, {words.policy(a.arm)}: {told}"


def _curve(plan: Plan, a: Alternative) -> tuple[np.ndarray, np.ndarray]:
    """Tokens/s/user and tokens/s/GPU of the alternative's engine, from little to the most that it serves: shapes (n,)."""
    configuration = a.candidate.configuration
    engine = steady_of(configuration, plan.demand, a.arm.fingerprint)
    rates = np.geomspace(engine.rate_per_s[-1] / _LITTLE, engine.rate_per_s[-1], _CURVE)
    return 1 / engine.at(rates).tpot_s, rates * plan.demand.output_tokens / configuration.gpus


def _axis(values: Sequence[float]) -> Axis:
    return log_axis(0.85 * min(values), 1.18 * max(values), lambda v: f"{v:,g}", ticks=7)
