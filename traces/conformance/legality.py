"""Every decision is one that a world can carry out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isfinite, isnan
from typing import Any

from policies.decisions import Assign, DraftShape, Hold, Shed, StepPlan
from policies.lawful import scale_fault
from policies.types import EngineView, FleetView, RequestView
from traces.conformance.finding import Check, Finding, Level
from traces.conformance.playing import Answer, play
from traces.conformance.purity import PURE
from traces.conformance.sight import SIGHT
from traces.conformance.subject import Subject

Fault = tuple[str, str, str]
"""(what is wrong, why it matters, what to do)"""

_WORLD_STOPS = "A world carries a decision out as it stands; it stops the run here rather than guess what was meant."


def _run(subject: Subject) -> Iterator[Finding]:
    """One finding per kind of fault, with the first call that shows it."""
    faults = _FAULTS[subject.point]
    seen: set[str] = set()
    for story in subject.stories:
        for answer in play(subject.point, subject.build(), story):
            if answer.fault is not None:
                break
            for what, why, instead in faults(answer):
                if instead not in seen:
                    seen.add(instead)
                    yield Finding("legality", Level.ERROR, f"{what} ({answer.place})", why, instead)


def _routing_faults(answer: Answer) -> Iterator[Fault]:
    decision = answer.decision
    request, fleet = answer.call
    if not isinstance(decision, Assign | Hold | Shed):
        yield f"returns {_shown(decision)}", _WORLD_STOPS, "Return `Assign(engine.id, reason)`, `Hold(reason)` or `Shed(reason)`."
        return
    if not isinstance(decision.reason, str) or not decision.reason.strip():
        yield _no_reason(decision)
    if isinstance(decision, Assign):
        yield from _assign_faults(decision, request, fleet)


def _assign_faults(decision: Assign, request: RequestView, fleet: FleetView) -> Iterator[Fault]:
    engines = fleet.engines
    chosen = next((engine for engine in engines if engine.id == decision.engine), None)
    if chosen is None:
        yield (
            f"assigns to {_shown(decision.engine)}, which is not in the view",
            "An engine that is not in the view is not active: it starts, drains, has failed or never was. " + _WORLD_STOPS,
            "Name the `id` of an engine of `fleet.engines` of this very call; where there is none, return `Hold(reason)`.",
        )
    elif chosen.model != request.model:
        yield (
            f"assigns a request for {request.model} to {chosen.id}, which serves {chosen.model}",
            "An engine holds the weights of one model. " + _WORLD_STOPS,
            "Choose among the engines whose `model` is `request.model`; where there is none, return `Hold(reason)`.",
        )
    scores = decision.scores
    if not isinstance(scores, tuple) or len(scores) not in (0, len(engines)):
        found = f"{len(scores)} scores for {len(engines)} engines" if isinstance(scores, tuple) else f"scores as {_shown(scores)}"
        yield (
            f"gives {found}",
            "Scores are read by position: with another number of them, logs and reports put them beside the wrong engines.",
            "Give one score per engine of `fleet.engines`, in its order and as a tuple, `inf` for those not considered; or none.",
        )
    elif any(not isinstance(s, int | float) or isnan(s) or (not isfinite(s) and s < 0) for s in scores):
        yield (
            f"gives the scores {_shown(scores)}",
            "NaN compares as neither smaller nor larger, so that the choice depends on the order of engines; and neither it nor "
            "an object can be written to the log.",
            "Let every score be a finite number, or `inf` for an engine that was not considered.",
        )


def _scale_faults(answer: Answer) -> Iterator[Fault]:
    scale = answer.decision
    (fleet,) = answer.call
    if fault := scale_fault(scale, fleet):
        what, _, remedy = fault.partition("; ")
        yield what, _WORLD_STOPS, remedy[:1].upper() + remedy[1:] + "."
        return
    for decision in (scale, *scale.changes):
        if not isinstance(decision.reason, str) or not decision.reason.strip():
            yield _no_reason(decision)


def _plan_faults(answer: Answer) -> Iterator[Fault]:
    plan = answer.decision
    (engine,) = answer.call
    if not isinstance(plan, StepPlan):
        yield f"returns {_shown(plan)}", _WORLD_STOPS, "Return a `StepPlan`."
        return
    if not isinstance(plan.reason, str) or not plan.reason.strip():
        yield _no_reason(plan)
    budget = plan.token_budget
    if not _whole(budget) or not 1 <= budget <= engine.max_batched_tokens:
        yield (
            f"plans a token budget of {_shown(budget)} on an engine that takes 1 to {engine.max_batched_tokens}",
            "An engine's buffers are laid out for `max_batched_tokens`; and without a token no request ever moves on.",
            "Keep it between 1 and `engine.max_batched_tokens`; to let a request sit out, cap it at 0.",
        )
    if not (isinstance(plan.valid_steps, int | float) and plan.valid_steps >= 1):
        yield (
            f"plans for {_shown(plan.valid_steps)} steps",
            "A plan is made for the step that starts now; one that stands for less would be asked for again without end.",
            "Let `valid_steps` be 1 (ask me every step), a number of steps, or `inf` (until something changes).",
        )
    yield from _id_faults(plan, engine)


def _shape_faults(answer: Answer) -> Iterator[Fault]:
    shape = answer.decision
    (engine,) = answer.call
    if not isinstance(shape, DraftShape):
        yield f"returns {_shown(shape)}", _WORLD_STOPS, "Return a `DraftShape`."
        return
    if not isinstance(shape.reason, str) or not shape.reason.strip():
        yield _no_reason(shape)
    lengths: Mapping[Any, Any] = shape.per_request or {}
    wrong = [tokens for tokens in (*lengths.values(), shape.tokens or 0) if not _whole(tokens) or tokens < 0]
    if wrong:
        yield (
            f"drafts {_shown(wrong[0])} tokens",
            "A chain has so many draft tokens.",
            "Let every length be a whole number, at least 0; 0 drafts nothing for the request.",
        )
    if not _whole(shape.width) or shape.width < 1:
        yield (
            f"drafts {_shown(shape.width)} tokens in each layer of a tree",
            "A layer has so many draft tokens; a chain is a tree with one in each.",
            "Let `width` be a whole number, at least 1; the engine cuts it to what it can verify.",
        )
    unknown = lengths.keys() - {request.id for request in engine.running}
    if unknown:
        yield (
            f"names request {_shown(min(unknown, key=str))} in `per_request`, which is not running on the engine",
            "A request that is not there has finished, waits, or was never sent: the shape was made for a state that has passed.",
            "Take the ids from `engine.running` of this very call.",
        )


def _id_faults(plan: StepPlan, engine: EngineView) -> Iterator[Fault]:
    running = {request.id for request in engine.running}
    known = running | {request.id for request in engine.waiting}
    caps: Mapping[Any, Any] = plan.caps or {}
    for name, ids, there, where in (
        ("order", plan.order or (), known, "running or waiting"),
        ("caps", caps, known, "running or waiting"),
        ("preempt", plan.preempt, running, "running"),
        ("admit", plan.admit or (), known - running, "waiting"),
    ):
        unknown = [id for id in ids if id not in there]
        if unknown:
            yield (
                f"names request {_shown(unknown[0])} in `{name}`, which is not {where} on the engine",
                "A request that is not there has finished or was never sent: the plan was made for a state that has passed.",
                f"Take the ids of `{name}` from the `engine` of this very call: those that are {where}.",
            )
    if plan.order is not None and len(set(plan.order)) != len(plan.order):
        yield (
            "names a request twice in `order`",
            "The order says who is offered tokens first; for a request that stands in two places it says nothing.",
            "Name every request once in `order`; those left out come last.",
        )
    if plan.admit is not None and len(set(plan.admit)) != len(plan.admit):
        yield (
            "names a request twice in `admit`",
            "Whom a plan lets in is looked at in its order, and can be let in once.",
            "Name every request once in `admit`; those left out stay in the queue.",
        )
    if any(not _whole(tokens) or tokens < 0 for tokens in caps.values()):
        wrong = next(tokens for tokens in caps.values() if not _whole(tokens) or tokens < 0)
        yield (
            f"caps a request at {_shown(wrong)} tokens",
            "A cap is a number of tokens in the next step.",
            "Let every cap be a whole number, at least 0; 0 lets the request sit out and keep its KV.",
        )


def _no_reason(decision: object) -> Fault:
    return (
        f"gives no reason for its {type(decision).__name__}",
        "The reason is what an operator reads at night when a user asks why; logs, reports and comparisons group decisions by it.",
        'Say in a few words what was compared or missing, such as "fewest unfinished requests"; keep numbers in `scores`.',
    )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: object) -> str:
    text = repr(value)
    if " at 0x" in text:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:59] + "…"


_FAULTS: Mapping[str, Callable[[Answer], Iterator[Fault]]] = {
    "router": _routing_faults,
    "scaler": _scale_faults,
    "batcher": _plan_faults,
    "speculator": _shape_faults,
}

CHECK = Check("legality", "decides what a world can carry out, and says why", _run, after=("parameters", *PURE, *SIGHT))
