"""Guarded views: they show what the protocols name and nothing else, and note who reaches for more or tries to change them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from policies.types import DraftView, EngineView, FleetView, RequestView, StepView
from policies.views import FUTURE, NOT_HELD, Fleet
from traces.conformance.source import Offence
from traces.conformance.stories import Call

_CONTRACT: dict[str, frozenset[str]] = {
    name: frozenset(n for n, value in vars(protocol).items() if isinstance(value, property))
    for name, protocol in (
        ("request", RequestView),
        ("engine", EngineView),
        ("own engine", StepView),
        ("drafting engine", DraftView),
        ("fleet", FleetView),
    )
}
for _own in ("own engine", "drafting engine"):
    _CONTRACT[_own] |= _CONTRACT["engine"]
_ENGINES = frozenset({"engines", "members", "idle"})
_REQUESTS = frozenset({"running", "waiting", "arrived", "held"})
# Names under which a server's or a simulator's own objects keep what has not happened yet.
_FORETOLD = frozenset({FUTURE, "output_tokens", "finish_step", "finish_s", "remaining_tokens", "max_tokens"})

Note = Callable[[Offence], None]


class Guarded:
    """A view behind glass. ``kind``: request, engine, own engine (a batcher's), drafting engine (a speculator's) or fleet."""

    __slots__ = ("_kind", "_note", "_oracle", "_view")

    def __init__(self, view: Any, kind: str, note: Note, oracle: bool) -> None:
        for name, value in (("_view", view), ("_kind", kind), ("_note", note), ("_oracle", oracle)):
            object.__setattr__(self, name, value)

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            return object.__getattribute__(self, name)
        view, kind, note, oracle = (object.__getattribute__(self, n) for n in ("_view", "_kind", "_note", "_oracle"))
        shown = kind.removeprefix("own ").removeprefix("drafting ")
        if name in _CONTRACT[kind]:
            value = getattr(view, name)
            if name in _REQUESTS:
                return GuardedList((Guarded(r, "request", note, oracle) for r in value), f"{shown}.{name}", note)
            if name == "completed":  # the past, as plain tuples
                return GuardedList(value, f"{shown}.{name}", note)
            if name in _ENGINES:
                return GuardedList((Guarded(e, "engine", note, oracle) for e in value), f"fleet.{name}", note)
            return value
        if name in _FORETOLD:
            if oracle and name == FUTURE:
                return getattr(view, name)
            note(Offence("future", f"reads {shown}.{name}"))
        else:
            note(Offence("contract", f"reads {shown}.{name}"))
        raise AttributeError(f"a {shown} view has no {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        kind, note = (object.__getattribute__(self, n) for n in ("_kind", "_note"))
        shown = kind.removeprefix("own ").removeprefix("drafting ")
        note(Offence("writes", f"sets {shown}.{name}"))
        raise AttributeError(f"a {shown} view cannot be changed")

    def __delattr__(self, name: str) -> None:
        setattr(self, name, None)


class GuardedList(list[Any]):
    """The requests or engines of a view; notes who changes it."""

    def __init__(self, items: Iterable[Any], name: str, note: Note) -> None:
        super().__init__(items)
        self._name = name
        self._note = note

    def _changed(self, method: str) -> None:
        self._note(Offence("writes", f"calls {self._name}.{method}()"))


def _noted(name: str) -> Any:
    plain = getattr(list, name)

    def method(self: GuardedList, *args: Any, **kwargs: Any) -> Any:
        self._changed(name)
        return plain(self, *args, **kwargs)

    return method


for _name in ("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort", "__setitem__", "__delitem__", "__iadd__"):
    setattr(GuardedList, _name, _noted(_name))


def guarded(call: Call, note: Note, oracle: bool) -> Call:
    """The call's views, each behind glass."""
    kinds: Sequence[str] = ("request", "fleet")
    if len(call) == 1:
        (view,) = call
        kinds = ("fleet" if isinstance(view, Fleet) else "drafting engine" if view.arrived is NOT_HELD else "own engine",)
    return tuple(Guarded(view, kind, note, oracle) for view, kind in zip(call, kinds, strict=True))
