"""The `sweep:` part of a scenario, and the grammar of an axis, in which a field and the values that it takes are written.

- `workload.chat.rate=4/s..40/s:8`: eight values, equally far apart, both ends included
- `engine.max_num_batched_tokens=512..8192:5log`: each the same multiple of the one before
- `policy=vllm,sarathi`: a list; commas inside { }, [ ] or quotes do not count
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from traces.errors import InputError
from traces.scenario.document import parse
from traces.scenario.fields import Count, Part

MOST_VALUES = 10_000
_NUMBER = r"([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)"
_UNIT = r"\s*([^\d\s.:,]*)\s*"
_RANGE = re.compile(rf"{_NUMBER}{_UNIT}\.\.\s*{_NUMBER}{_UNIT}(?::\s*(\d+)\s*(log)?)?")


@dataclass(frozen=True, slots=True)
class Axis:
    """A field of the scenario and the values that it takes in turn, as texts that `--set` reads."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Two ends of one unit, as written. ``whole``: both are plain whole numbers."""

    low: float
    high: float
    unit: str
    whole: bool
    count: int | None
    log: bool


def parse_axis(text: str, option: str = "--vary") -> Axis:
    """An axis from `key.path=values`. ``option``: what messages call the place.

    Raises:
        InputError: it names no key or no values, or a range is badly written.
    """
    key, equals, values = text.partition("=")
    if not equals or not key.strip() or not values.strip():
        raise InputError(f"{option} {text}: names no values; write it like {option} workload.chat.rate=4/s..40/s:8 or policy=a,b")
    try:
        return Axis(key.strip(), axis_values(values))
    except ValueError as error:
        raise InputError(f"{option} {key.strip()}: {error}") from None


def axis_values(text: str) -> tuple[str, ...]:
    """The values that a list or range stands for.

    Raises:
        ValueError: a part is empty, or a range is badly written.
    """
    values: list[str] = []
    for part in _split(text):
        if not part:
            raise ValueError(f"`{text}` has an empty value; write values between the commas")
        found = parse_range(part)
        values += [part] if found is None else _expand(found, part)
    return tuple(values)


def parse_range(text: str) -> Range | None:
    """`4/s..40/s`, with `:8` or `:8log` where a count is given; ``None`` = the text is no range of numbers.

    Raises:
        ValueError: its ends have different units, or are the same.
    """
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        return None
    low, low_unit, high, high_unit, count, log = match.groups()
    if low_unit and high_unit and low_unit != high_unit:
        raise ValueError(f"`{text}` mixes the units {low_unit} and {high_unit}; write both ends in the same one")
    if float(low) == float(high):
        raise ValueError(f"`{text}` begins where it ends; write two ends that differ")
    unit = low_unit or high_unit
    whole = not unit and low.isdecimal() and high.isdecimal()
    return Range(float(low), float(high), unit, whole, None if count is None else int(count), log is not None)


def _expand(given: Range, text: str) -> list[str]:
    if given.count is None:
        raise ValueError(f"`{text}` does not say how many values; write {text}:8, or {text}:8log for a constant ratio")
    if not 2 <= given.count <= MOST_VALUES:
        raise ValueError(f"`{text}` asks for {given.count} values; ask for 2 to {MOST_VALUES:,}")
    if given.log and min(given.low, given.high) <= 0:
        raise ValueError(f"`{text}` cannot have a constant ratio, as an end is not positive; leave out `log`")
    shares = [i / (given.count - 1) for i in range(given.count)]
    if given.log:
        values = [math.exp(math.log(given.low) * (1 - t) + math.log(given.high) * t) for t in shares]
    else:
        values = [given.low * (1 - t) + given.high * t for t in shares]
    return [f"{value:.10g}{given.unit}" for value in values]


def _split(text: str) -> list[str]:
    """At commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "{[":
            depth += 1
        elif character in "}]":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
    return [part.strip() for part in parts]


def _values(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return axis_values(value)
    if isinstance(value, list | tuple) and value:
        return tuple(item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in value)
    if isinstance(value, Mapping) or value is None or value in ([], ()):
        raise ValueError("names no values; write a list such as [vllm, sarathi], or a range such as 4/s..40/s:8")
    return (json.dumps(value),)


Values = Annotated[
    tuple[str, ...],
    BeforeValidator(_values),
    WithJsonSchema(
        {
            "anyOf": [{"type": ["string", "number"]}, {"type": "array", "minItems": 1}],
            "description": "a list of values, or a range such as 4/s..40/s:8 or 512..8192:5log",
        }
    ),
]


class Sweep(Part):
    """What `twinserve sweep` varies when the command line does not say."""

    vary: dict[str, Values] = Field(description="field → values: a list, or a range such as 4/s..40/s:8")
    seeds: Annotated[Count, Field(ge=1, le=MOST_VALUES)] = Field(1, description="runs of each point, with the seeds from `seed` on")

    @field_validator("vary")
    @classmethod
    def _imports_nothing(cls, vary: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """As in `policy:`, a scenario from a stranger cannot make us import a module."""
        for key, values in vary.items():
            if key.strip().startswith("policy") and any(":" in word for value in values for word in _words(key, value)):
                raise ValueError(
                    f"{key}: a file cannot name a class to import; name installed policies, or give it on the command line "
                    f"as --vary {key}=module:Class"
                )
        return vary

    def axes(self, folder: Path) -> list[Axis]:
        """``folder``: of the scenario file, from which the paths of trace files count."""
        return [Axis(key, _located(key, values, folder)) for key, values in self.vary.items()]


def _words(key: str, value: str) -> Iterator[str]:
    """Every text in a value, as YAML reads it."""
    nodes = [parse(value, key, in_file=False).data]
    while nodes:
        node = nodes.pop()
        if isinstance(node, Mapping):
            nodes += [*node.keys(), *node.values()]
        elif isinstance(node, list):
            nodes += node
        elif isinstance(node, str):
            yield node


def _located(key: str, values: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    if not key.endswith(".trace.file"):
        return values
    return tuple(json.dumps(str((folder / Path(value).expanduser()).resolve()), ensure_ascii=False) for value in values)
