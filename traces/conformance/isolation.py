"""All state of a policy is in the object: none in its module, its class, a default argument, or a closure."""

from __future__ import annotations

import functools
import pickle
import types
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from traces.conformance.finding import Check, Finding, Level
from traces.conformance.playing import all_written, play, written
from traces.conformance.purity import PURE, static_offences
from traces.conformance.sight import SIGHT
from traces.conformance.stories import Story
from traces.conformance.subject import Subject

_WHY = (
    "In the simulator the batchers of all engines, and both arms of a comparison, live in one process; in production each engine "
    "has its own. State that objects share makes them decide differently there, and is not rebuilt from a decision log."
)
_INSTEAD = "Keep it in `self`, and make a fresh one in `__init__`."


def _run(subject: Subject) -> Iterator[Finding]:
    declared = [offence.what for offence in static_offences(subject, "globals")]
    if declared:
        yield Finding("globals", Level.ERROR, "; ".join(declared[:3]), _WHY, _INSTEAD)
        return
    before = _places(subject)
    ordinary = subject.stories[0]
    alone = all_written(subject.point, subject.build(), ordinary)
    after = _places(subject)
    changed = [place for place, (state, value) in after.items() if _differs(before.get(place), state, value)]
    if changed:
        what = f"changes {', '.join(changed[:3])} while it decides"
        yield Finding("globals", Level.ERROR, what, _WHY, _INSTEAD)
        return
    together = _interleaved(subject)
    if together != alone:
        turn = next(i for i, (a, b) in enumerate(zip(alone, together, strict=True)) if a != b)
        what = f"call {turn + 1} on {ordinary.about} gets another answer when a second object of the class is called in between"
        yield Finding("globals", Level.ERROR, what, _WHY, _INSTEAD)


def _interleaved(subject: Subject) -> list[str]:
    """The answers to the ordinary story while another object gets other calls in between."""
    ordinary = subject.stories[0]
    calls = [call for story in subject.stories[1:3] for call in story.calls]
    disturbing = play(subject.point, subject.build(), Story("disturbing", "other calls", calls * len(ordinary.calls)))
    answers = []
    for answer in play(subject.point, subject.build(), ordinary):
        answers.append(written(subject.point, answer))
        next(disturbing, None)
    return answers


State = tuple[bytes | str, Any]


def _places(subject: Subject) -> dict[str, State]:
    """Where state could hide, in words → (what is there now, frozen; the thing itself)."""
    found: dict[str, State] = {}
    for module in subject.modules:
        if module.live is not None:
            _collect(vars(module.live), f"{module.file}: ", module.name, found)
    return found


def _collect(names: Mapping[str, Any], prefix: str, module: str, found: dict[str, State]) -> None:
    for name, value in list(names.items()):
        if name.startswith("__") and name.endswith("__"):
            continue
        plain = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if isinstance(plain, property):
            plain = plain.fget
        if isinstance(plain, types.FunctionType):
            if plain.__module__ == module:
                _functions_state(plain, f"{prefix}{name}", found)
        elif isinstance(plain, type):
            if plain.__module__ == module:
                _collect(vars(plain), f"{prefix}{name}.", module, found)
        elif not isinstance(plain, types.ModuleType | functools._lru_cache_wrapper | types.MemberDescriptorType):
            found[f"{prefix}{name}"] = (_frozen(plain), plain)


def _functions_state(function: types.FunctionType, name: str, found: dict[str, State]) -> None:
    defaults = (function.__defaults__, function.__kwdefaults__)
    if any(defaults):
        found[f"a default argument of {name}()"] = (_frozen(defaults), defaults)
    if vars(function):
        found[f"an attribute of the function {name}()"] = (_frozen(vars(function)), vars(function))
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        contents = cell.cell_contents
        if not isinstance(contents, type | types.FunctionType | types.ModuleType):
            found[f"the variable {variable} around {name}()"] = (_frozen(contents), contents)


def _frozen(value: Any) -> bytes | str:
    """The value as it is now, as bytes to compare with; its text where it cannot be pickled."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pickle.dumps(value)
    except Exception:  # pickling runs whatever the value likes
        return repr(value)


def _differs(before: State | None, state: bytes | str, value: Any) -> bool:
    """Whether a place holds something else than before. What was only cached or sorted anew, and is equal, does not count."""
    if before is None:
        return True
    if before[0] == state:
        return False
    if isinstance(before[0], bytes):
        try:
            return not bool(pickle.loads(before[0]) == value)
        except Exception:  # neither equal nor comparable
            return True
    return True


CHECK = Check("globals", "keeps its state in the object, and shares none", _run, after=("parameters", *PURE, *SIGHT))
