"""A policy is a name and plain parameters: it fits into a scenario, is built from it anywhere, and explains itself."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator

from policies.card import Parameter, card_of, declared
from policies.registry import PolicyError
from traces.conformance.finding import Check, Finding, Level
from traces.conformance.subject import Subject

_WHY = (
    "A scenario, a run record and a worker process know a policy by its name and its parameters as JSON; what does not fit in "
    "there is lost, and so is the run's reproducibility."
)
_NAMED = "Give every parameter a name of its own, with a type and a default that JSON can hold: numbers, text, lists, mappings."


def _run(subject: Subject) -> Iterator[Finding]:
    if subject.template is not None:
        return
    signature = inspect.signature(subject.cls)
    loose = [p for p in signature.parameters.values() if p.kind in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY)]
    if loose:
        yield Finding("parameters", Level.ERROR, f"the constructor takes `{loose[0]}`, which has no name", _WHY, _NAMED)
        return
    settable = [p for p in declared(subject.cls) if p.name != "seed"]
    for parameter in settable:
        yield from _default_faults(parameter)
    try:
        subject.build()
    except PolicyError as fault:
        instead = (
            f"{fault}. Give it with `--param NAME=VALUE`." if "needs a value" in str(fault) else "Let the defaults be valid values."
        )
        yield Finding("parameters", Level.ERROR, f"cannot be built: {fault}", _WHY, instead)
        return
    except Exception as fault:  # a constructor may fail in any way
        yield Finding(
            "parameters",
            Level.ERROR,
            f"the constructor raises {type(fault).__name__}: {fault}",
            "A user who sets a wrong value is shown the text of a ValueError; any other exception is a crash.",
            "Raise ValueError for values that cannot be, naming the parameter and what it may be.",
        )
        return
    yield from _untold(subject, settable)


def _default_faults(parameter: Parameter) -> Iterator[Finding]:
    try:
        json.dumps(parameter.default, allow_nan=False)
    except (TypeError, ValueError):
        what = f"the default of `{parameter.name}` is {type(parameter.default).__name__}, which JSON cannot hold"
        yield Finding("parameters", Level.ERROR, what, _WHY, _NAMED)


def _untold(subject: Subject, settable: list[Parameter]) -> Iterator[Finding]:
    card = card_of(subject.point, subject.name, subject.cls, "")
    if not subject.cls.__doc__ or not card.summary:
        yield Finding(
            "parameters",
            Level.WARNING,
            "the class has no docstring",
            "Its first sentence is what `twinserve policies list` shows, and all that a user has to choose by.",
            "Say in one sentence what the policy does, in the field's words; then `Args:` and `Source:`.",
        )
    untold = [p.name for p in settable if not p.doc or not p.type]
    if untold:
        yield Finding(
            "parameters",
            Level.WARNING,
            f"{', '.join(untold)} lack{'s' if len(untold) == 1 else ''} a type or a line under `Args:` in the class docstring",
            "`twinserve policies show` tells users what a parameter means, and a typed one is checked when a scenario is read.",
            "Annotate it in the constructor and add `name: what it is, its unit and range.` under `Args:`.",
        )


CHECK = Check("parameters", "is built from plain, documented parameters", _run)
