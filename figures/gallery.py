"""Every figure by name. A figure's module is imported when the figure is asked for, and not before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from figures.frame import Figure
from traces.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from figures.frame import Produced

_FIGURES: Mapping[str, str] = {
    "router-attainment": "figures.baselines.routers:RouterAttainment",
    "budget-pareto": "figures.baselines.budgets:BudgetPareto",
    "polyserve-azure-conv": "figures.polyserve.rates:AzureConversations",
    "polyserve-azure-code": "figures.polyserve.rates:AzureCode",
    "polyserve-mooncake-conv": "figures.polyserve.rates:MooncakeConversations",
    "polyserve-servegen": "figures.polyserve.rates:ServeGen",
    "polyserve-uniform-512-512": "figures.polyserve.rates:UniformShort",
    "polyserve-uniform-4096-1024": "figures.polyserve.rates:UniformLong",
    "polyserve-tiers": "figures.polyserve.tiers:Tiers",
    "polyserve-cost": "figures.polyserve.cost:Cost",
    "polyserve-scale": "figures.polyserve.scale:Scale",
    "polyserve-inversion": "figures.polyserve.inversion:Inversion",
    "polyserve-hosts": "figures.polyserve.hosts:Hosts",
    "polyserve-mixing": "figures.polyserve.mixing:Mixing",
    "polyserve-small-fleet": "figures.polyserve.small:Small",
    "adaserve-rates": "figures.adaserve.load:FirstRead",
    "adaserve-sourced": "figures.adaserve.load:Rates",
    "adaserve-urgency": "figures.adaserve.load:Urgency",
    "adaserve-objectives": "figures.adaserve.load:Objectives",
    "adaserve-accepted": "figures.adaserve.accepted:Accepted",
    "adaserve-bursts": "figures.adaserve.bursts:Bursts",
    "adaserve-time": "figures.adaserve.time:StepTime",
    "adaserve-ablations": "figures.adaserve.ablations:Ablations",
    "adaserve-combined": "figures.adaserve.combined:Combined",
    "hygen-tolerance": "figures.hygen.tolerance:Tolerances",
    "hygen-variants": "figures.hygen.variants:Variants",
    "hygen-objectives": "figures.hygen.objectives:Objectives",
    "hygen-predictor": "figures.hygen.predictor:PredictorScatter",
    "hygen-order": "figures.hygen.order:Order",
    "iserve-configurations": "figures.iserve.configurations:Configurations",
    "iserve-attainment": "figures.iserve.attainment:Attainment",
    "iserve-sets": "figures.iserve.sets:Sets",
    "iserve-placement": "figures.iserve.placing:Placing",
    "iserve-profiling": "figures.iserve.profiling:Profiling",
    "iserve-16-bits": "figures.iserve.halves:HalfPrecision",
    "scoot-throughput": "figures.scoot.curves:Throughput",
    "scoot-pairs": "figures.scoot.pairs:Pairs",
    "scoot-hypervolume": "figures.scoot.curves:Latencies",
    "scoot-steps": "figures.scoot.steps:Steps",
    "scoot-invalid": "figures.scoot.crashes:Invalid",
    "scoot-parallel": "figures.scoot.degrees:Parallel",
    "scoot-services": "figures.scoot.services_view:Relative",
    "scoot-knobs": "figures.scoot.services_view:Importance",
}

EVERY = "all"
LIST = "list"
"""Words that the command line takes in place of names."""

_STYLES = {"agrees": "green", "differs": "bold red", "cannot tell": "yellow", "not comparable": "dim"}


def names() -> list[str]:
    """All figures, in the order in which ``all`` makes them."""
    return list(_FIGURES)


def groups() -> dict[str, list[str]]:
    """The papers' names → their figures: a package of ``figures`` is a group."""
    found: dict[str, list[str]] = {}
    for name, place in _FIGURES.items():
        found.setdefault(place.split(".")[1], []).append(name)
    return found


def figure(name: str) -> Figure:
    """The figure of that name.

    Raises:
        InputError: there is none.
    """
    if name not in _FIGURES:
        from difflib import get_close_matches

        near = get_close_matches(name, [*_FIGURES, *groups()], n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(groups())}, or say {EVERY}"
        raise InputError(f"figure {name}: there is none; {hint}")
    module, _, attribute = _FIGURES[name].partition(":")
    made: Figure = getattr(import_module(module), attribute)()
    return made


def chosen(words: Sequence[str]) -> list[Figure]:
    """The figures that the words name, each once: a figure's name, a group's for all of its figures, or ``all``.

    Raises:
        InputError: one of them names none; one line for each.
    """
    found: list[Figure] = []
    faults: list[str] = []
    group = groups()
    asked = names() if EVERY in words else [name for word in words for name in group.get(word, [word])]
    for word in dict.fromkeys(asked):
        try:
            found.append(figure(word))
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(*faults)
    return found


def listing() -> list[dict[str, Any]]:
    """Name, title, source and expectations of every figure, as plain data."""
    return [
        {
            "figure": made.name,
            "title": made.title,
            "source": str(made.source),
            "expected": [{"quantity": e.quantity, "paper": e.paper, "source": e.source} for e in made.expected],
        }
        for made in map(figure, names())
    ]


def print_listing(console: Console) -> None:
    """One figure per line, and how to make them."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for group, members in groups().items():
        table.add_row(Text(group, style="dim"), "")
        for made in map(figure, members):
            table.add_row(Text(f"  {made.name}"), Text(made.title))
    console.print(table)
    console.print(
        "\ntwinserve figures NAME… makes them, a group's name all of its figures, all every one.", style="dim", highlight=False
    )


def print_produced(made: Produced, console: Console) -> None:
    """What a figure found against what its paper says, then where its files are."""
    from rich.table import Table
    from rich.text import Text

    console.print(Text(made.title, style="bold"))
    if made.rows:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for heading, whole in (("quantity", False), ("paper", False), ("ours (95 %)", True), ("verdict", True)):
            table.add_column(heading, no_wrap=whole)  # no number is ever cut
        for row in made.rows:
            verdict = Text(row.verdict.value, style=_STYLES[row.verdict.value])
            table.add_row(Text(row.quantity), Text(row.paper), Text(row.ours.text()), verdict)
        console.print(table)
    console.print(Text(_files(str(path) for path in made.files), "dim"), soft_wrap=True)


def _files(paths: Iterable[str]) -> str:
    """``folder/name.csv .json .md …`` for files that differ in their endings."""
    ordered = sorted(paths)
    stem = ordered[0].partition(".csv")[0].partition(".caption")[0]
    return stem + " ".join(path.removeprefix(stem) for path in ordered)
