"""A space narrowed to what an operator allows, or widened to hold the configuration that runs today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

from policies.scoot.space import Knob, Levels, LogIntegers, LogLevels, Space


def with_level(knob: Knob, value: Any) -> Knob:
    """The knob, able to take ``value``: numbers are put in their place among the levels, but 0, which stands for "no limit", and
    all else at the end."""
    if isinstance(knob, LogIntegers):
        return LogIntegers(knob.name, min(knob.low, value), max(knob.high, value))
    if value in knob.values:
        return knob
    if isinstance(knob, LogLevels):
        return LogLevels(knob.name, tuple(sorted((*knob.values, value))))
    ordered = [level for level in knob.values if isinstance(level, int | float) and 0 < level < value]
    place = knob.values.index(ordered[-1]) + 1 if ordered else 0
    return Levels(knob.name, (*knob.values[:place], value, *knob.values[place:]))


def bounded(space: Space, low_high: Mapping[str, tuple[float, float]], allowed: Mapping[str, Sequence[Any]]) -> Space:
    """The space within an operator's bounds: ``low_high`` ends included, or the ``allowed`` values.

    Raises:
        ValueError: there is no such knob, nothing is left of one, or the default configuration lies outside.
    """
    names = [knob.name for knob in space.knobs]
    for name in (*low_high, *allowed):
        if name not in names:
            raise ValueError(f"{name}: there is no such knob; the knobs are {', '.join(names)}")
    knobs = tuple(_bounded(knob, low_high.get(knob.name), allowed.get(knob.name)) for knob in space.knobs)
    for knob in knobs:
        value = space.default[knob.name]
        if not knob.takes(value):
            raise ValueError(f"{knob.name}: the configuration to start from has {value}, outside the bounds; widen them, or set it")
    return Space(knobs, space.rules, space.default)


def _bounded(knob: Knob, low_high: tuple[float, float] | None, allowed: Sequence[Any] | None) -> Knob:
    if low_high is None and allowed is None:
        return knob
    if isinstance(knob, LogIntegers | LogLevels) and allowed is not None:  # an operator may name numbers that are no levels
        if outside := [value for value in allowed if not knob.low <= value <= knob.high]:
            raise ValueError(f"{knob.name}: {outside[0]} is outside {knob.low} to {knob.high}")
        return LogLevels(knob.name, tuple(sorted(set(allowed))))
    if isinstance(knob, LogIntegers):
        assert low_high is not None
        low, high = max(knob.low, int(low_high[0])), min(knob.high, int(low_high[1]))
        if low > high:
            raise _nothing_left(knob.name, low_high, f"{knob.low} to {knob.high}")
        return LogIntegers(knob.name, low, high) if low < high else Levels(knob.name, (low,))
    if allowed is not None:
        if unknown := [value for value in allowed if value not in knob.values]:
            raise ValueError(f"{knob.name}: cannot be {unknown[0]}; it takes {', '.join(map(str, knob.values))}")
        return Levels(knob.name, tuple(value for value in knob.values if value in allowed))
    assert low_high is not None
    within = [isinstance(v, int | float) and low_high[0] <= v <= low_high[1] for v in knob.values]
    if not any(within):
        raise _nothing_left(knob.name, low_high, ", ".join(map(str, knob.values)))
    return replace(knob, values=tuple(compress(knob.values, within)))


def _nothing_left(name: str, asked: tuple[float, float], there: str) -> ValueError:
    return ValueError(f"{name}: nothing between {asked[0]:g} and {asked[1]:g}; it takes {there}")
