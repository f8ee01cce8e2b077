"""A search's answer, and the probes that it rests on."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from figures.studies.columns import aligned, cell_of, fitted, headings, label, scale_of
from figures.tables import Footnotes
from sim.bracket import Answer
from sim.goals import Goal
from sim.search import Search
from sim.sweep import EVERYONE
from traces.intervals import Estimate


def print_answer(asked: Search, answer: Answer, console: Console) -> None:
    """The answer in a sentence, and the probes that it rests on."""
    console = fitted(console)
    notes = Footnotes()
    head = "Not in the bracket. " if answer.outside else "Found. " if answer.stopped == "narrow" else "Found, within noise. "
    style = "bold yellow" if answer.outside or answer.stopped == "noise" else "bold green"
    lines = [Text.assemble((head, style), sentence(asked, answer))]
    lines.append(Text(f"{answer.runs} runs in {len(answer.trail)} probes{_against_a_grid(asked, answer)}", "dim"))
    lines.append(Text(""))
    columns = []
    for i, goal in enumerate(asked.goals):
        found = [probe.estimates[i] for probe in answer.trail]
        scale = scale_of(goal.metric, found)
        cells = [cell_of(e, scale, notes) for e in found]
        texts = [f"{c.text} {c.interval}" for c in cells]
        columns.append(
            [" ".join(filter(None, (label(goal.metric), "" if goal.group == EVERYONE else goal.group, scale.unit))), *texts]
        )
    rows = [
        [headings([asked.key])[0], "seeds", *(column[0] for column in columns), "goals"],
        *(
            [_shown(asked, probe.value), str(probe.seeds), *(column[j + 1] for column in columns), probe.verdict.value]
            for j, probe in enumerate(answer.trail)
        ),
    ]
    lines += aligned(rows)
    for line in lines:
        console.print(line, markup=False, highlight=False, overflow="fold")


def sentence(asked: Search, answer: Answer) -> str:
    """What was asked, and the answer with what is known of it."""
    goals = " and ".join(map(goal_text, asked.goals))
    which = "Highest" if asked.highest else "Lowest"
    if answer.outside is not None:
        end = _shown(asked, asked.span.high if answer.outside == "above" else asked.span.low)
        holds = (answer.outside == "above") == asked.highest
        side = "higher" if answer.outside == "above" else "lower"
        verb = "holds even at" if holds else "is missed even at"
        return f"{goals} {verb} {asked.key} = {end}, the end of the bracket: the answer is {side}."
    text = f"{which} {asked.key} with {goals}: {_shown(asked, answer.value)}"
    if answer.lo == answer.hi and answer.lo is not None:
        return f"{text}, exactly."
    lo, hi = (None if end is None else _shown(asked, end) for end in (answer.lo, answer.hi))
    interval = (
        f"{lo.removesuffix(asked.unit)}–{hi}" if lo and hi else f"≥ {lo}" if lo else f"≤ {hi}" if hi else "anywhere in the bracket"
    )
    if answer.stopped == "noise":
        return f"{text} ({interval}). Noise is the limit: more seeds, or a longer duration, would narrow it."
    return f"{text} ({interval})."


def answer_json(asked: Search, answer: Answer) -> dict[str, Any]:
    """One object; values in the unit of the bracket."""
    return {
        "key": asked.key,
        "question": "highest" if asked.highest else "lowest",
        "unit": asked.unit,
        "goals": [goal_text(goal) for goal in asked.goals],
        "value": answer.value,
        "lo": answer.lo,
        "hi": answer.hi,
        "outside": answer.outside,
        "stopped": answer.stopped,
        "runs": answer.runs,
        "trail": [
            {
                "value": probe.value,
                "seeds": probe.seeds,
                "verdict": probe.verdict.value,
                "estimates": [{"value": e.value, "lo": e.lo, "hi": e.hi, "n": e.n} for e in probe.estimates],
            }
            for probe in answer.trail
        ],
    }


def goal_text(goal: Goal) -> str:
    """`attainment ≥ 90 %`."""
    group = "" if goal.group == EVERYONE else f" of {goal.group}"
    scale = scale_of(goal.metric, [Estimate(goal.threshold)])
    return (
        f"{label(goal.metric)}{group} {'≥' if goal.at_least else '≤'} {f'{goal.threshold * scale.factor:g} {scale.unit}'.strip()}"
    )


def _against_a_grid(asked: Search, answer: Answer) -> str:
    """What a grid of the bracket's final width would take with as many seeds as the search needed near the answer."""
    if answer.lo is None or answer.hi is None or answer.outside is not None:
        return ""
    span, seeds = asked.span, max(probe.seeds for probe in answer.trail)
    width = span.width(answer.lo, answer.hi)
    points = round((span.high - span.low) / span.step) + 1 if span.step else round(span.width(span.low, span.high) / width) + 1
    return f"; a grid as fine, with as many seeds, takes {points * seeds:,}"


def _shown(asked: Search, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}{asked.unit}" if asked.span.step else f"{value:.4g}{asked.unit}"
