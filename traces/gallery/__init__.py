"""Commented scenarios for the common questions: one YAML file each, whose first line is the question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from traces.errors import InputError

TOPICS: Mapping[str, tuple[str, ...]] = {
    "Capacity and cost": (
        "demo", "peak-load", "buy", "parallelism", "load-test", "azure-2023-file", "bursts", "mixed-fleet",
    ),
    "Policies and knobs": (
        "routers", "tiers", "offline-batch", "long-prompts", "prefix-cache", "speculation", "knobs", "pd",
    ),
    "A fleet over time": ("autoscale", "intents", "failure"),
    "Real engines": ("shadow", "cpu-light", "cpu-saturated", "cpu-calibration", "cpu-prefixes", "h200-capture"),
}  # fmt: skip
"""Topic → names, in the order in which they are listed."""

_FOLDER = Path(__file__).parent
_HERE = "traces/gallery/"


@dataclass(frozen=True, slots=True)
class Example:
    """A scenario of the gallery. ``question``: what it answers."""

    name: str
    topic: str
    question: str
    text: str


def names() -> list[str]:
    """All scenarios, by topic."""
    return [name for members in TOPICS.values() for name in members]


def example(name: str) -> Example:
    """The scenario of that name.

    Raises:
        InputError: there is none.
    """
    for topic, members in TOPICS.items():
        if name in members:
            text = (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
            return Example(name, topic, text.partition("\n")[0].lstrip("# "), text)
    from traces.scenario.document import nearest

    raise InputError(f"{name}: is not in the gallery; {nearest(name, names())}")


def copy(name: str, target: Path, schema: Path | None = None) -> None:
    """Write a scenario of the gallery to ``target``, its commands naming that file. ``schema``: told to editors in its first line.

    Raises:
        InputError: there is no such scenario, or ``target`` is there already or cannot be written.
    """
    text = example(name).text.replace(f"{_HERE}{name}.yaml", str(target))
    if schema is not None:
        text = f"# yaml-language-server: $schema={schema.as_posix()}\n{text}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{target}: is there already; choose another name, or remove it first") from None
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error}); choose another place") from None
