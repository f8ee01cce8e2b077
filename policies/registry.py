"""Policies by name: what there is, what it takes, and how it is built.

A policy is built from a decision point, a name and plain parameters, so the same few words rebuild it in any process. A name is

- a built-in one (``least-loaded``),
- one that an installed package declares as an entry point of the group ``twinserve.policies``, called ``<point>.<name>``::

      [project.entry-points."twinserve.policies"]
      "router.my-router" = "my_package.routers:MyRouter"

- or the path of a class, ``my_package.routers:MyRouter``.

The constructor's signature is the policy's parameter list, and its class docstring the description that users see: the first
sentence, ``Args:``, and ``Source:``. A constructor with a parameter ``seed`` is given the run's seed, from which it makes its named
streams (``policies.streams``); users do not set it. Importing this module imports no policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from policies.card import PolicyCard, card_of, declared

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "twinserve.policies"

_BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "router": {
        "round-robin": "policies.routers:RoundRobin",
        "random": "policies.routers:Random",
        "least-loaded": "policies.routers:LeastLoaded",
        "power-of-two": "policies.routers:PowerOfTwo",
        "join-shortest-queue": "policies.routers:JoinShortestQueue",
        "llumnix": "policies.polyserve.baselines:Llumnix",
        "lmetric": "policies.routers:LMetric",
        "minimal": "policies.polyserve.baselines:Minimal",
        "polyserve": "policies.polyserve.router:PolyServe",
        "polyserve-hygen": "policies.hygen.router:PolyServeHyGen",
        "prefix-affinity": "policies.routers:PrefixAffinity",
        "vllm": "policies.routers:VLLM",
    },
    "scaler": {
        "none": "policies.scalers:Fixed",
        "target-load": "policies.scalers:TargetLoad",
        "polyserve": "policies.polyserve.scaler:PolyServe",
        "polyserve-fixed": "policies.polyserve.fixed:Fixed",
        "iserve": "policies.iserve.scaler:IServe",
    },
    "batcher": {
        "vllm": "policies.batchers:VLLM",
        "sarathi": "policies.batchers:Sarathi",
        "prefill-first": "policies.batchers:PrefillFirst",
        "polyserve": "policies.polyserve.batcher:PolyServe",
        "qoserve": "policies.polyserve.qoserve:QoServe",
        "hygen": "policies.hygen.batcher:HyGen",
        "hygen-star": "policies.hygen.baselines:HyGenStar",
        "conserve-like": "policies.hygen.baselines:ConServeLike",
        "sarathi-plus": "policies.hygen.baselines:SarathiPlus",
    },
    "speculator": {
        "vllm": "policies.speculators:VLLM",
        "none": "policies.speculators:Off",
        "fixed-k": "policies.speculators:FixedK",
        "adaserve": "policies.adaserve.speculator:AdaServe",
        "turbospec": "policies.adaserve.baselines:TurboSpec",
        "adaspec": "policies.adaserve.baselines:AdaSpec",
    },
}

METHOD: Mapping[str, str] = {"router": "route", "scaler": "scale", "batcher": "plan", "speculator": "shape"}
"""Decision point → the method that decides."""

_STACKS: Mapping[str, Mapping[str, str]] = {
    "vllm": {"router": "vllm", "batcher": "vllm"},
    "sarathi": {"router": "vllm", "batcher": "sarathi"},
    "hygen": {"router": "vllm", "batcher": "hygen"},
    "polyserve": {"router": "polyserve", "scaler": "polyserve", "batcher": "polyserve"},
    "polyserve-fixed": {"router": "polyserve", "scaler": "polyserve-fixed", "batcher": "polyserve"},
    "pd-random": {"router": "random", "batcher": "vllm"},
    "pd-minimal": {"router": "minimal", "batcher": "vllm"},
    "co-random": {"router": "random", "batcher": "polyserve"},
    "co-minimal": {"router": "minimal", "batcher": "polyserve"},
    "co-chunk": {"router": "minimal", "batcher": "sarathi"},
    "qoserve": {"router": "minimal", "batcher": "qoserve"},
    "iserve": {"router": "least-loaded", "scaler": "iserve", "batcher": "vllm"},
}

POINTS: tuple[str, ...] = tuple(_BUILT_IN)
STACKS: tuple[str, ...] = tuple(_STACKS)
DEFAULT_STACK = "vllm"


class PolicyError(ValueError):
    """A policy that does not exist, cannot be loaded, or does not take what it was given; the text says what to do instead."""


def names(point: str) -> list[str]:
    """All policies of a decision point: the built-in ones, then those of installed packages by name, which cannot replace them.

    Raises:
        PolicyError: there is no such point.
    """
    built_in = _built_in(point)
    return [*built_in, *sorted(_entry_points(point).keys() - built_in.keys())]


def stack(name: str) -> dict[str, str]:
    """Point → policy name. A stack without a scaler leaves the fleet as it is.

    Raises:
        PolicyError: there is no such stack.
    """
    if name in _STACKS:
        return dict(_STACKS[name])
    for point in POINTS:
        if name in _BUILT_IN[point]:
            raise PolicyError(f"there is no stack {name!r}, but a {point} of that name; write {{{point}: {name}}}")
    raise PolicyError(f"there is no stack {name!r}; {_instead(name, STACKS)}")


def describe(point: str, name: str) -> PolicyCard:
    """What a user needs to know of a policy before choosing it.

    Raises:
        PolicyError: there is no such point or policy, or it cannot be loaded.
    """
    cls, origin = load(point, name)
    return card_of(point, name, cls, origin)


def catalogue() -> list[PolicyCard]:
    """Cards of all policies of all points. A package's policy that cannot be loaded is listed with the reason as its summary."""
    cards = []
    for point in POINTS:
        for name in names(point):
            try:
                cards.append(describe(point, name))
            except PolicyError as fault:
                cards.append(PolicyCard(point, name, f"cannot be loaded: {fault}"))
    return cards


def build(point: str, name: str, params: Mapping[str, object], seed: int) -> Any:
    """A fresh policy object.

    Raises:
        PolicyError: there is no such point or policy, it has no such parameter, or it refuses a value.
    """
    cls, _ = load(point, name)
    return construct(point, name, cls, params, seed)


def construct(point: str, name: str, cls: type, params: Mapping[str, object], seed: int) -> Any:
    """``build`` for a class that is at hand; ``name`` is for messages.

    Raises:
        PolicyError: it has no such parameter, or refuses a value.
    """
    known = declared(cls)
    settable = {p.name: p for p in known if p.name != "seed"}
    what = f"{point} {name}"
    for key, value in params.items():
        if key not in settable:
            raise PolicyError(f"{what} has no parameter {key!r}; {_instead(key, settable)}")
        if not settable[key].accepts(value):
            raise PolicyError(f"{what}: {key} is {value!r}; it takes a value of type {settable[key].type}")
    if missing := [p.name for p in settable.values() if p.required and p.name not in params]:
        raise PolicyError(f"{what} needs a value for {', '.join(missing)}")
    seeded = {"seed": seed} if len(known) > len(settable) else {}
    try:
        return cls(**params, **seeded)
    except ValueError as fault:
        raise PolicyError(f"{what}: {fault}") from fault


def _built_in(point: str) -> Mapping[str, str]:
    if point not in _BUILT_IN:
        raise PolicyError(f"there is no decision point {point!r}; {_instead(point, POINTS)}")
    return _BUILT_IN[point]


def _entry_points(point: str) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    declared_here = entry_points(group=GROUP)
    return {e.name.partition(".")[2]: e for e in declared_here if e.name.startswith(f"{point}.")}


def load(point: str, name: str) -> tuple[type, str]:
    """The class of a policy, and where it comes from in words.

    Raises:
        PolicyError: there is no such point or policy, or it cannot be imported or is of another point.
    """
    built_in = _built_in(point)
    if name in built_in:
        path, origin = built_in[name], "built in"
    elif ":" in name:
        path, origin = name, "class path"
    elif entry := (found := _entry_points(point)).get(name):
        path, origin = entry.value, f"package {entry.dist.name if entry.dist else '?'}"
    else:
        raise PolicyError(f"there is no {point} {name!r}; {_instead(name, [*built_in, *found])}, or give a class as module:Class")
    try:
        cls = imported(path)
    except PolicyError as fault:
        raise PolicyError(f"{point} {name}: {fault}") from fault
    if not isinstance(cls, type) or not callable(getattr(cls, METHOD[point], None)):
        raise PolicyError(f"{point} {name}: {path} is not a {point}: it must be a class with a method {METHOD[point]!r}")
    return cls, origin


def imported(path: str) -> Any:
    """What ``module:Class`` names.

    Raises:
        PolicyError: it cannot be imported.
    """
    import importlib

    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as fault:  # importing runs someone else's code, which may fail in any way
        raise PolicyError(f"{path} cannot be imported: {type(fault).__name__}: {fault}") from fault


def _instead(wrong: str, valid: Iterable[str]) -> str:
    from difflib import get_close_matches

    valid = list(valid)
    if not valid:
        return "it takes none"
    near = get_close_matches(wrong, valid, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"valid: {', '.join(valid)}"
