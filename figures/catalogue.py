"""Lists for the terminal: policies, workloads, public traces, formats."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from policies.card import PolicyCard


def print_policies(cards: Sequence[PolicyCard], as_json: bool) -> None:
    """One line per policy, by decision point."""
    if as_json:
        print(json.dumps([dataclasses.asdict(card) for card in cards], ensure_ascii=False))
        return
    console = Console()
    for point in dict.fromkeys(card.point for card in cards):
        rows = [(card.name, card.summary) for card in cards if card.point == point]
        _section(console, point, rows)
    console.print("\ntwinserve policies show POINT NAME tells parameters and source.", style="dim")


def print_policy(card: PolicyCard, as_json: bool) -> None:
    """Everything that a policy says of itself."""
    if as_json:
        print(json.dumps(dataclasses.asdict(card), ensure_ascii=False))
        return
    console = Console()
    console.print(Text(f"{card.point} {card.name}", style="bold"), Text(f"({card.origin})", style="dim"))
    console.print(card.summary, highlight=False)
    if card.details:
        console.print(card.details, highlight=False)
    if card.parameters:
        rows = [
            (f"{p.name}: {p.type}", (p.doc + (" Required." if p.required else f" Default: {p.default}.")).strip())
            for p in card.parameters
        ]
        _section(console, "parameters", rows)
    if card.source:
        console.print(f"\nSource: {card.source}", highlight=False)


def print_gallery(as_json: bool) -> None:
    """The gallery's scenarios, by topic, each with the question that it answers."""
    from traces import gallery

    if as_json:
        listing = [gallery.example(name) for name in gallery.names()]
        print(json.dumps([{"name": e.name, "topic": e.topic, "question": e.question} for e in listing], ensure_ascii=False))
        return
    console = Console()
    for topic, names in gallery.TOPICS.items():
        _section(console, topic, [(name, gallery.example(name).question) for name in names])
    console.print("\ntwinserve config init NAME writes one, with comments, to NAME.yaml.", style="dim")


def print_traces(as_json: bool) -> None:
    """Built-in workloads, public traces and readable formats."""
    from traces.builtin import BUILTIN
    from traces.published import TRACES
    from traces.readers import FORMATS

    if as_json:
        listing = {
            "builtin": [
                {"name": b.name, "summary": b.summary, "requests": b.requests, "licence": b.licence, "citation": b.citation}
                for b in BUILTIN.values()
            ],
            "public": [dataclasses.asdict(trace) for trace in TRACES.values()],
            "formats": {name: format.about for name, format in FORMATS.items()},
        }
        print(json.dumps(listing, ensure_ascii=False))
        return
    console = Console()
    _section(console, "built in (no file needed)", [(b.name, b.summary) for b in BUILTIN.values()])
    _section(
        console,
        "public (twinserve traces get NAME)",
        [(t.name, t.about + (f", {t.requests:,} requests" if t.requests else "")) for t in TRACES.values()],
    )
    _section(console, "formats that are read", [(name, format.about) for name, format in FORMATS.items()])


def _section(console: Console, title: str, rows: Sequence[tuple[str, str]]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, text in rows:
        table.add_row(Text(name), Text(text))
    console.print(Text(f"\n{title}", style="dim"))
    console.print(table)
