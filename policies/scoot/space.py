"""What is tuned: knobs, each a set of levels on one axis of the unit cube, and the rules that a configuration must keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Config = Mapping[str, Any]
"""Knob name → value."""


@dataclass(frozen=True, slots=True)
class Levels:
    """A knob with a few values, evenly spaced in their given order."""

    name: str
    values: tuple[Any, ...]

    def value(self, unit: float) -> Any:
        return self.values[round(unit * (len(self.values) - 1))]

    def takes(self, value: Any) -> bool:
        return value in self.values

    def unit(self, value: Any) -> float:
        return self.values.index(value) / max(1, len(self.values) - 1)

    @property
    def places(self) -> Floats:
        return np.arange(len(self.values)) / max(1, len(self.values) - 1)

    def snap(self, units: Floats) -> Floats:
        last = max(1, len(self.values) - 1)
        return np.rint(units * (len(self.values) - 1)) / last


@dataclass(frozen=True, slots=True)
class LogIntegers:
    """Whole numbers from ``low`` to ``high``, on a logarithmic axis."""

    name: str
    low: int
    high: int

    def value(self, unit: float) -> int:
        nearest: int = round(self.low * (self.high / self.low) ** unit)
        return min(self.high, max(self.low, nearest))

    def takes(self, value: Any) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high

    def unit(self, value: int) -> float:
        return float(np.log(value / self.low) / np.log(self.high / self.low))

    def snap(self, units: Floats) -> Floats:
        whole = np.clip(np.rint(self.low * (self.high / self.low) ** units), self.low, self.high)
        snapped: Floats = np.log(whole / self.low) / np.log(self.high / self.low)
        return snapped


@dataclass(frozen=True, slots=True)
class LogLevels:
    """A few positive numbers, rising, each in its place on a logarithmic axis."""

    name: str
    values: tuple[int, ...]

    @property
    def low(self) -> int:
        return self.values[0]

    @property
    def high(self) -> int:
        return self.values[-1]

    def value(self, unit: float) -> int:
        return self.values[int(self._nearest(np.array([unit]))[0])]

    def takes(self, value: Any) -> bool:
        return value in self.values

    def unit(self, value: int) -> float:
        return float(self.places[self.values.index(self.nearest(value))])

    def snap(self, units: Floats) -> Floats:
        return self.places[self._nearest(units)]

    def nearest(self, value: float) -> int:
        """The value nearest to any positive number, by ratio."""
        return min(self.values, key=lambda known: abs(np.log(known / value)))

    @property
    def places(self) -> Floats:
        logs = np.log(np.array(self.values, dtype=np.float64))
        places: Floats = (logs - logs[0]) / max(logs[-1] - logs[0], 1e-12)
        return places

    def _nearest(self, units: Floats) -> NDArray[np.intp]:
        nearest: NDArray[np.intp] = np.abs(units[:, None] - self.places[None, :]).argmin(axis=1)
        return nearest


Knob = Levels | LogIntegers | LogLevels
"""One axis of the unit cube, on which neighbouring values behave alike. ``value`` is the value nearest to a point of [0, 1],
``unit`` where a value lies, ``takes`` whether it is one of the knob's, and ``snap`` moves points to those of their nearest
values; a knob with few values tells the ``places`` of all."""


def powers_of_two(name: str, low: int, high: int) -> Levels:
    """2^k from ``low`` to ``high``, both powers of two themselves."""
    return Levels(name, tuple(1 << k for k in range(low.bit_length() - 1, high.bit_length())))


def halved_octaves(name: str, low: int, high: int, *, multiple: int) -> LogLevels:
    """2^k and 3 · 2^k from ``low`` to ``high``: the multiples of ``multiple``, a power of two, among them."""
    steps = sorted(base << k for base in (1, 3) for k in range(high.bit_length()))
    return LogLevels(name, tuple(step for step in steps if low <= step <= high and step % multiple == 0))


def flag(name: str) -> Levels:
    """Off or on."""
    return Levels(name, (False, True))


@dataclass(frozen=True, slots=True)
class Rule:
    """A known constraint, as data.

    ``holds``: whether a configuration keeps it. ``repair``: a configuration that keeps it, near the given one; ``draw`` is a
    uniform number in [0, 1) for repairs with a choice. ``text`` is for people.
    """

    text: str
    holds: Callable[[Config], bool]
    repair: Callable[[Config, float], Config]


@dataclass(frozen=True, slots=True)
class Space:
    """Knobs, rules in the order in which they are repaired, and the configuration that the engine starts with by itself."""

    knobs: tuple[Knob, ...]
    rules: tuple[Rule, ...]
    default: Config

    def __post_init__(self) -> None:
        if missing := {knob.name for knob in self.knobs} ^ set(self.default):
            raise ValueError(f"knobs and default configuration differ in {sorted(missing)}")
        if broken := self.broken(self.default):
            raise ValueError(f"the default configuration breaks: {broken[0].text}")
        if outside := [knob.name for knob in self.knobs if not knob.takes(self.default[knob.name])]:
            raise ValueError(f"{outside[0]}: the default configuration's {self.default[outside[0]]} is no value of the knob")

    def allows(self, config: Config) -> bool:
        """Whether every knob takes its value and all rules are kept."""
        return all(knob.takes(config[knob.name]) for knob in self.knobs) and not self.broken(config)

    def broken(self, config: Config) -> list[Rule]:
        """The rules that ``config`` does not keep."""
        return [rule for rule in self.rules if not rule.holds(config)]

    def repaired(self, config: Config, draw: float) -> Config:
        """``config`` made to keep all rules."""
        for rule in self.rules:
            if not rule.holds(config):
                config = rule.repair(config, draw)
        return config

    def unit(self, config: Config) -> Floats:
        """A configuration as a point of the unit cube, one coordinate per knob."""
        return np.array([knob.unit(config[knob.name]) for knob in self.knobs])

    def config(self, point: Floats) -> dict[str, Any]:
        """The configuration nearest to a point of the unit cube."""
        return {knob.name: knob.value(float(u)) for knob, u in zip(self.knobs, point, strict=True)}

    def lawful(self, points: Floats, draws: Sequence[float]) -> Floats:
        """Points of the unit cube, shape (n, knobs), moved to configurations that keep all rules; equal ones merged, order kept.

        A repair may lead out of a knob's values, which an operator has bounded; such points are left out.
        """
        seen: dict[bytes, Floats] = {}
        for point, draw in zip(points, draws, strict=True):
            config = self.repaired(self.config(point), draw)
            if self.allows(config):
                lawful = self.unit(config)
                seen.setdefault(lawful.tobytes(), lawful)
        return np.array(list(seen.values())).reshape(-1, len(self.knobs))


def implies(text: str, holds: Callable[[Config], bool], changes: Callable[[Config, float], Mapping[str, Any]]) -> Rule:
    """A rule whose repair sets the knobs that ``changes`` returns."""
    return Rule(text, holds, lambda config, draw: {**config, **changes(config, draw)})
