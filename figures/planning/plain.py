"""A plan as plain data: everything that the table and the page show, and what they leave out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from figures.planning import words
from sim.planning.question import Alternative, Plan
from traces.intervals import Estimate


def plan_json(plan: Plan) -> dict[str, Any]:
    """Unknown and infinite are null."""
    question = plan.question
    return {
        "answer": words.answer(plan),
        "demand": dataclasses.asdict(plan.demand),
        "aim": question.aim,
        "attainment": question.attainment,
        "considered": plan.considered,
        "hopeless": plan.hopeless,
        "passed_over": plan.passed_over,
        "margin": question.margin,
        "seeds": plan.seeds,
        "separated": plan.separated,
        "run_s": {
            kind: _known(getattr(plan, f"{kind}_s")) for kind in ("short", "medium", "long", "whole")
        },
        "binds": words.binds(plan),
        "headroom": None if plan.headroom is None else dataclasses.asdict(plan.headroom),
        "sensitivity": [
            {
                "change": one.what,
                "factor": one.factor,
                "engines": one.engines,
                "rate_per_s": _known(one.rate_per_s),
                "attainment": one.attainment,
                "verdict": "" if plan.best is None else words.shaken(one, plan.best),
            }
            for one in plan.shaken
        ],
        "alternatives": [_alternative(a) for a in plan.alternatives],
        "refused": [
            {**dataclasses.asdict(r.arm.candidate.configuration), "policy": list(r.arm.policy), "knobs": list(r.arm.knobs),
             "reasons": list(r.reasons)}
            for r in plan.refusals
        ],
    }  # fmt: skip


def _alternative(a: Alternative) -> dict[str, Any]:
    capacity = a.candidate.requests_per_s
    return {
        **dataclasses.asdict(a.candidate.configuration),
        "policy": list(a.policy),
        "knobs": list(a.arm.knobs),
        "engines": a.engines,
        "engines_lo": a.lo,
        "engines_hi": a.hi,
        "engines_needed": _known(a.need) if a.arm.engines is None else None,
        "gpus": a.gpus,
        "usd_per_gpu_hour": a.arm.usd_per_gpu_hour,
        "usd_per_hour": _known(a.usd_per_hour),
        "rate_per_s": _known(a.rate_per_s),
        "rate_per_s_lo": _known(a.rate_lo),
        "rate_per_s_hi": _known(a.rate_hi),
        "with_step_time_error": None if a.hardware is None else [_known(end) for end in a.hardware],
        "against_first": a.against,
        "tokens_s_per_gpu": a.tokens_s_per_gpu,
        "tokens_s_per_user": a.tokens_s_per_user,
        "pareto": a.front,
        "binds": a.binds,
        "binding": a.binding,
        "step_times": a.candidate.provenance,
        "expected_engines": a.candidate.replicas,
        "expected_requests_per_s": {"value": capacity.value, "lo": capacity.low, "hi": capacity.high},
        "metrics": {name: _estimate_json(found) for name, found in a.found.items()},
        "runs": a.runs,
        "long_runs": a.long,
        "warnings": list(a.warnings),
        "extrapolated": list(a.beyond),
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _estimate_json(estimate: Estimate) -> Mapping[str, Any]:
    return {"value": estimate.value, "lo": estimate.lo, "hi": estimate.hi, "n": estimate.n}
