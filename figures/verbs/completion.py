"""What shells offer for an argument, from lists that are quick to import (that of metrics takes a quarter second)."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem


def examples(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Scenarios of the gallery, with their questions."""
    from traces import gallery

    return [CompletionItem(name, help=gallery.example(name).question) for name in gallery.names() if name.startswith(incomplete)]


def points(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Decision points."""
    from policies.registry import POINTS

    return _beginning(incomplete, POINTS)


def policies(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Policies of the decision point that was named before, else of all points."""
    from policies.registry import POINTS, names

    point = context.params.get("point")
    return _beginning(incomplete, (name for each in ([point] if point in POINTS else POINTS) for name in names(each)))


def points_and_policies(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Where both may stand."""
    from policies.registry import POINTS, names

    return _beginning(incomplete, (*POINTS, *(name for point in POINTS for name in names(point))))


def stacks(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Policies that `policy:` takes alone."""
    from policies.registry import STACKS

    return _beginning(incomplete, STACKS)


def metrics(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Keys of the metric dictionary."""
    from traces.metrics import METRICS

    return [CompletionItem(key, help=m.definition) for m in METRICS for key in m.keys if key.startswith(incomplete)]


def figures(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Figures, and the papers' names."""
    from figures import gallery

    return _beginning(incomplete, (gallery.LIST, gallery.EVERY, *gallery.groups(), *gallery.names()))


def fingerprints(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The library's fingerprints, and files."""
    from traces.fingerprints import available

    return [*_beginning(incomplete, available()), CompletionItem(incomplete, type="file")]


def workloads(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Built-in workloads, and files."""
    from traces.builtin import BUILTIN

    return [*_beginning(incomplete, BUILTIN), CompletionItem(incomplete, type="file")]


def public_traces(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Traces that can be downloaded."""
    from traces.published import TRACES

    return _beginning(incomplete, TRACES)


def _beginning(incomplete: str, words: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(word) for word in dict.fromkeys(words) if word.startswith(incomplete)]
