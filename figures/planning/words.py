"""An answer in words: the same on the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from figures.units import UNKNOWN, duration, number, share
from sim.planning.question import Alternative, Arm, Plan, Shaken
from traces.candidates import name_of

MARKS = {"assembled": "†", "analytic": "‡", "end-to-end": "§"}
SAID = {
    "assembled": "assembled from operators measured one by one",
    "analytic": "a guess from data sheets",
    "end-to-end": "fitted to whole runs",
}


def engine(arm: Arm) -> str:
    """``2×h100 fp8, KV fp8†``: the GPUs of one engine, precision, and where its step times are from."""
    c = arm.candidate.configuration
    stages = f" {c.pipeline_parallel} stages" if c.pipeline_parallel > 1 else ""
    kv = f", KV {c.kv_precision}" if c.kv_precision != "bf16" else ""
    return f"{c.gpus}×{c.gpu}{stages} {c.precision}{kv}{MARKS.get(arm.candidate.provenance, '')}"


def policy(arm: Arm) -> str:
    """The policy, and knobs that were varied."""
    words = [p.removeprefix("policy=").removeprefix("policy.") for p in arm.policy]
    knobs = [".".join(key.split(".")[-1:]) + "=" + value for key, _, value in (knob.partition("=") for knob in arm.knobs)]
    return " ".join([*words, *knobs]) or "as in the file"


def engines(a: Alternative) -> str:
    """``~7 (6–8)``: as many as it takes, and where that lies by the noise of the runs; ``~``: of short runs."""
    if a.engines is None:
        return UNKNOWN
    text = f"{a.engines}" if a.long else f"~{a.engines}"
    return text if a.lo == a.hi or a.lo is None else f"{text} ({a.lo}–{a.hi})"


def policies(plan: Plan) -> str:
    """What the first deployment takes under each policy and setting of the knobs."""
    best = plan.best
    same = [a for a in plan.alternatives if best is not None and a.candidate is best.candidate]
    if len(same) < 2:
        return ""
    if plan.question.aim == "rate":
        return ", ".join(f"{policy(a.arm)} {rate(a.rate_per_s)}" for a in same)
    takes = ("fails" if a.engines is None else "one engine" if a.engines == 1 else f"{a.need:.2f} engines' worth" for a in same)
    return ", ".join(f"{policy(a.arm)} {told}" for a, told in zip(same, takes, strict=True))


def leading(plan: Plan, most: int) -> list[Alternative]:
    """Of each deployment the best policy, so that a table shows what there is to choose from."""
    first = {a.candidate.configuration: a for a in reversed(plan.alternatives)}
    return [a for a in plan.alternatives if first[a.candidate.configuration] is a][:most]


def rate(value: float) -> str:
    """``12.4 req/s``, or per hour where it is slow."""
    return f"{number(value)} req/s" if value >= 1 else f"{number(3600 * value)} req/h"


def usd(value: float) -> str:
    """Dollars and cents."""
    return UNKNOWN if not math.isfinite(value) else f"{value:,.2f}"


def spread(plan: Plan, a: Alternative) -> str:
    """What is ranked, where it may lie by noise and by the error of step times: $/h, GPUs, or req/s."""
    if a.hardware is None:
        return UNKNOWN
    low, high = a.hardware
    if plan.question.aim == "rate":
        return f"{number(low)}–{number(high)}"
    each = a.arm.each * (a.arm.usd_per_gpu_hour if plan.question.aim == "usd" else 1)
    text = usd if plan.question.aim == "usd" else (lambda value: UNKNOWN if math.isinf(value) else f"{value:g}")
    return f"≥ {text(low * each)}" if math.isinf(high) else f"{text(low * each)}–{text(high * each)}"


ORDER = {"": "", "apart": "", "same": "level", "noise": "≈ noise", "step times": "≈ steps"}
"""How an alternative stands to the first, in a table."""


def answer(plan: Plan) -> str:
    """What to buy, or how much the GPUs carry."""
    best = plan.best
    if best is None or best.gpus is None:
        return "No fleet of these GPUs meets the objectives."
    c = best.candidate.configuration
    many = f"{best.engines} engine{'s' * (best.engines != 1)}, {engine(best.arm)}, {policy(best.arm)}"
    if plan.question.aim == "rate":
        return (
            f"{rate(best.rate_per_s)} ({number(best.rate_lo)}–{number(best.rate_hi)}) on {best.gpus} × {c.gpu}: {many}, "
            f"${usd(best.usd_per_hour)} an hour."
        )
    return f"{best.gpus} × {c.gpu} for ${usd(best.usd_per_hour)} an hour: {many}."


def demand(plan: Plan) -> str:
    """What was asked."""
    d, slo = plan.demand, plan.demand.slo
    limits = [f"{name} {limit * 1e3:g} ms" for name, limit in (("TTFT", slo.ttft_s), ("TPOT", slo.tpot_s)) if limit is not None]
    decided = f" (decided by {' and '.join(limits)})" if limits else ""
    return (
        f"{d.model}, {rate(d.rate_per_s or 0.0)} of {d.prompt_tokens:,.0f} + {d.output_tokens:,.0f} tokens on average; "
        f"{plan.question.attainment:.0%} must meet their SLO{decided}."
    ).replace("%", " %")


def binds(plan: Plan) -> str:
    """What is missed with less than the answer."""
    best = plan.best
    if best is None:
        return plan.alternatives[0].binding if plan.alternatives else ""
    if best.binding:
        less = "at the next higher rate" if plan.question.aim == "rate" else f"with {max((best.engines or 1) - 1, 1)}"
        return f"{best.binds} {less}: {best.binding}"
    if plan.headroom is not None and plan.headroom.binds:
        return f"nothing yet, as there is no less than one engine; beyond the headroom {plan.headroom.binds}"
    return "nothing yet, as there is no less than one engine"


def headroom(plan: Plan) -> str:
    """How much more load the answer carries."""
    h = plan.headroom
    if h is None:
        return ""
    more = f"{number(h.load, h.lo, h.hi)} × the load ({number(h.lo, h.lo, h.hi)}–{number(h.hi, h.lo, h.hi)})"
    return f"it carries {more}" + (f", then {h.binds} binds" if h.binds else "")


def shaken(one: Shaken, best: Alternative) -> str:
    """``stands``, ``needs 2 more engines``, ``needs 1 fewer``, or the rate that is carried."""
    if one.note:
        return f"not tried: {one.note}"
    if math.isfinite(one.rate_per_s):
        return f"carries {rate(one.rate_per_s)}"
    assert best.engines is not None
    if one.engines is None:
        return "not with as many as there are GPUs for"
    more = one.engines - best.engines
    if more == 0:
        return "stands"
    return f"needs {more} more engine{'s' * (more != 1)}" if more > 0 else f"could do with {-more} fewer"


def changed(one: Shaken) -> str:
    """``load +20 %``."""
    return f"{one.what} {'+' if one.factor > 1 else '−'}{abs(one.factor - 1):.0%}".replace("%", " %")


def order(plan: Plan) -> str:
    """Whether the first is told from the others, and from which it is not."""
    best = plan.best
    if best is None:
        return ""
    others = [a for a in plan.alternatives if a is not best and a.engines is not None]
    noisy, steps = (_names([a for a in others if a.against == kind]) for kind in ("noise", "step times"))
    words = []
    if noisy:
        words.append(f"not separable from {noisy} by {plan.seeds} seeds")
    if steps:
        words.append(f"not separable from {steps} within the error of step times")
    if not words:
        return "told from all others by the runs" if others else ""
    return "; ".join(words)


def _names(found: Sequence[Alternative], most: int = 3) -> str:
    names = list(dict.fromkeys(engine(a.arm) for a in found))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def considered(plan: Plan) -> str:
    """How the answer came about."""
    simulated = {a.candidate for a in plan.alternatives} | {r.arm.candidate for r in plan.refusals}
    failed = sum(a.engines is None for a in plan.alternatives)
    words = [
        f"{plan.considered} kinds of engine estimated in closed form"
        + (f", {plan.hopeless} of them too slow for one request" if plan.hopeless else ""),
        f"{len(simulated)} simulated in {sum(a.runs for a in plan.alternatives)} runs",
    ]
    if plan.passed_over:
        words.append(f"{plan.passed_over} within {1 + plan.question.margin:g} × the cheapest were not: raise --most")
    if failed:
        words.append(f"{failed} fail with the GPUs there are")
    if math.isfinite(plan.short_s):
        first = "of all" if plan.long_s == plan.short_s else f"of all, {duration(plan.long_s)} of the first ones"
        whole = "" if math.isnan(plan.whole_s) or plan.long_s >= plan.whole_s else f" (the file has {duration(plan.whole_s)})"
        words.append(f"runs of {duration(plan.short_s)} {first}{whole}")
    own = {a.arm.fingerprint: name_of(a.candidate.configuration) for a in plan.alternatives if a.arm.fingerprint is not None}
    words += [f"step times of {name} are those of {path.name}" for path, name in own.items() if path is not None]
    return "; ".join(words) + "."


def attained(a: Alternative) -> str:
    found = a.found.get("attainment")
    return UNKNOWN if found is None or found.value is None else share(found.value)
