"""A plan on the terminal: the answer in words, then one row per alternative, best first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from figures.planning import words
from figures.planning.prices import Prices
from figures.studies.columns import GAP, fitted
from figures.units import UNKNOWN, number
from sim.planning.question import Alternative, Plan

MOST_ROWS = 12
_RANGES = {"usd": "$/h range", "gpus": "GPUs range", "rate": "req/s range"}
Column = tuple[str, Callable[[Alternative], str], bool]
"""Heading, text of a cell, and whether it is a figure."""


def print_plan(plan: Plan, console: Console, prices: Prices) -> None:
    """80 columns unless it is a terminal; no figure is ever cut."""
    console = fitted(console)
    lines: list[Text] = [Text(words.demand(plan), "dim")]
    lines.append(Text(words.answer(plan), "bold green" if plan.best else "bold red"))
    lines += _facts(plan)
    lines.append(Text(""))
    shown = words.leading(plan, MOST_ROWS)
    lines += blocks(shown, columns(plan), console.width)
    if len(plan.alternatives) > len(shown):
        lines.append(Text(f"… {len(plan.alternatives) - len(shown)} alternatives more in --json and --html", "dim"))
    lines += [Text(""), *_legend(plan), Text(prices.told() + "; your own: --prices FILE.", "dim")]
    for line in lines:
        console.print(line, markup=False, highlight=False, overflow="fold")


def _facts(plan: Plan) -> Iterator[Text]:
    best = plan.best
    facts = [
        ("Binds", words.binds(plan)),
        ("Headroom", words.headroom(plan)),
        ("Order", words.order(plan)),
        ("Policies on it", words.policies(plan)),
    ]
    for label, text in facts:
        if text:
            yield Text.assemble((f"{label}: ", "bold"), text + ".")
    if best is not None and plan.shaken:
        groups: dict[str, list[str]] = {}
        for one in plan.shaken:
            groups.setdefault(words.shaken(one, best), []).append(words.changed(one))
        told = "; ".join(f"{what} with {', '.join(changes)}" for what, changes in groups.items())
        yield Text.assemble(("If wrong: ", "bold"), f"the answer {told}.")
    for warning in best.warnings if best is not None else ():
        yield Text.assemble(("Warning: ", "bold yellow"), warning)


def columns(plan: Plan) -> list[Column]:
    """Of the table: the first is the alternative's name."""
    several = len({(a.policy, a.arm.knobs) for a in plan.alternatives}) > 1
    by_rate = plan.question.aim == "rate"
    found: list[Column] = [("engine", lambda a: words.engine(a.arm), False)]
    if several:
        found.append(("policy", lambda a: words.policy(a.arm), False))
    found.append(("engines", words.engines, True))
    if by_rate:
        found.append(("req/s", lambda a: UNKNOWN if a.engines is None else number(a.rate_per_s), True))
    elif plan.question.aim == "gpus":
        found.append(("GPUs", lambda a: UNKNOWN if a.gpus is None else str(a.gpus), True))
    found += [
        ("$/h", lambda a: words.usd(a.usd_per_hour), True),
        (_RANGES[plan.question.aim], lambda a: words.spread(plan, a), True),
        ("order", lambda a: words.ORDER[a.against], False),
        ("binds", lambda a: a.binds or UNKNOWN, False),
        ("tok/s/GPU", lambda a: number(a.tokens_s_per_gpu), True),
        ("tok/s/user", lambda a: number(a.tokens_s_per_user) + ("●" if a.front else " "), True),
        ("attained", words.attained, True),
        ("TTFT p99 ms", lambda a: _ms(a, "ttft_s.p99"), True),
        ("TPOT p99 ms", lambda a: _ms(a, "tpot_s.p99"), True),
        ("$/Mtok", lambda a: _of(a, "usd_per_mtok"), True),
    ]  # fmt: skip
    return found


def blocks(rows: Sequence[Alternative], columns: Sequence[Column], width: int) -> Iterator[Text]:
    """Lines of one table, or of several below each other, each with the names, as wide as there is room."""
    cells = [[heading, *map(text, rows)] for heading, text, _ in columns]
    widths = [max(map(len, column)) for column in cells]
    room, waiting = width - widths[0] - len(GAP), list(range(1, len(columns)))
    while waiting:
        shown = [waiting.pop(0)]
        while waiting and sum(widths[i] + len(GAP) for i in (*shown, waiting[0])) <= room + len(GAP):
            shown.append(waiting.pop(0))
        for line in range(len(rows) + 1):
            parts = [_flush(cells[i][line], widths[i], right=columns[i][2]) for i in (0, *shown)]
            yield Text(GAP.join(parts).rstrip(), "bold" if line == 0 else "")
        if waiting:
            yield Text("")


def _flush(text: str, width: int, *, right: bool) -> str:
    return f"{text:>{width}}" if right else f"{text:{width}}"


def _legend(plan: Plan) -> Iterator[Text]:
    marks = {a.candidate.provenance for a in plan.alternatives if a.candidate.provenance in words.MARKS}
    for mark in sorted(marks):
        yield Text(f"{words.MARKS[mark]} step times are {mark}: {words.SAID[mark]}", "dim")
    yield Text(
        "engines (lo–hi): by the noise of the runs; ~: short runs only. range: with the error of step times too. order: ≈ cannot "
        "be told from the first. ●: no other has both more tok/s/GPU and more tok/s/user. Of each deployment the best policy.",
        "dim",
    )
    reasons: dict[str, list[str]] = {}
    for r in plan.refusals:
        for reason in r.reasons:
            reasons.setdefault(reason, []).append(f"{words.engine(r.arm)}, {words.policy(r.arm)}")
    for reason, arms in reasons.items():
        yield Text.assemble(
            ("Refused: ", "bold yellow"), f"{'; '.join(dict.fromkeys(arms))}: {reason} (--extrapolate answers anyway)"
        )
    yield Text(words.considered(plan), "dim")


def _ms(a: Alternative, name: str) -> str:
    found = a.found.get(name)
    return UNKNOWN if found is None or found.value is None else number(1e3 * found.value)


def _of(a: Alternative, name: str) -> str:
    found = a.found.get(name)
    return UNKNOWN if found is None or found.value is None else number(found.value)
