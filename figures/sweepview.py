"""Sweeps and searches in a terminal: a live table on stderr while they run, and what they found on stdout."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.text import Text

from figures.console import raised
from figures.tables import Cell, Footnotes, cell, letter, share_cell
from figures.units import PERCENT, PLAIN, Scale, duration, seconds_scale
from sim.bracket import Answer
from sim.goals import Goal, Verdict
from sim.search import Search
from sim.sweep import EVERYONE, Point, PointResult, Progress, SweepResult, coordinates, estimate
from traces.errors import InputError
from traces.intervals import Estimate
from traces.metrics import METRICS
from traces.pooling import pooled
from traces.scenario.document import nearest

if TYPE_CHECKING:
    from rich.live import Live

METRICS_SHOWN = ("attainment", "goodput_req_s", "ttft_s.p99", "tpot_s.p99")
_UNITS = {key: metric.unit for metric in METRICS for key in metric.keys}
_PLAIN_WIDTH = 80
_LATEST = 8
_PER_SECOND = 4
_GAP = "  "
_STYLES: dict[str, str] = {Verdict.HELD: "green", Verdict.MISSED: "red", Verdict.OPEN: "yellow"}


# --- while it runs ----------------------------------------------------------------------------------------------------


class SweepProgress:
    """On a terminal's stderr: how many points are done, how long the rest will take, and the latest ones. Elsewhere nothing.

    ``runs``: of a search, which does not know how many points it will take.
    """

    def __init__(self, *, enabled: bool = True, search: bool = False) -> None:
        self._enabled, self._search = enabled and sys.stderr.isatty(), search
        self._began = time.monotonic()
        self._progress: Progress | None = None
        self._latest: list[PointResult] = []
        self._runs = self._faults = self._cached = 0
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._enabled:
            from rich.live import Live

            console = Console(stderr=True)
            self._live = Live(console=console, transient=True, refresh_per_second=_PER_SECOND, get_renderable=self._drawn)
            self._live.__enter__()
        return self

    def watch(self, progress: Progress) -> None:
        """Take note of the progress, which is shown a few times a second."""
        self._runs += 1
        self._faults += bool(progress.latest.faults)
        self._cached += progress.latest.cached
        self._latest = [*self._latest, progress.latest][-_LATEST:]
        self._progress = progress

    def _drawn(self) -> Group:
        progress, latest, elapsed_s = self._progress, self._latest, time.monotonic() - self._began
        if progress is None:
            return Group(Text(f"the first point is computed · {duration(elapsed_s)} so far", "bold"))
        words = [f"{self._runs:,} runs"] if self._search else [f"{progress.done:,} of {progress.total:,} points"]
        if self._cached:
            words.append(f"{self._cached:,} cached")
        if self._faults:
            words.append(f"{self._faults:,} failed")
        if not self._search:
            left = (progress.total - progress.done) * elapsed_s / progress.ran if progress.ran else None
            words.append(f"ETA {duration(left)}")
        words.append(f"{duration(elapsed_s)} so far")
        keys = list(dict.fromkeys(key for result in latest for key in coordinates(result.point)))
        rows = [[*(_written(result.point, key) for key in keys), str(result.point.seed), _glance(result)] for result in latest]
        return Group(Text(" · ".join(words), "bold"), *_aligned([[*_headings(keys), "seed", "attainment"], *rows]))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)


def _glance(result: PointResult) -> str:
    if result.faults:
        return "failed"
    shown = share_cell(estimate(result.summary()["metrics"], "attainment"), Footnotes())
    return f"{shown.text}{' (cached)' if result.cached else ''}"


# --- a sweep ----------------------------------------------------------------------------------------------------------


def parse_metrics(names: Sequence[str]) -> list[tuple[str, str]]:
    """(metric, group) pairs from `ttft_s.p99` and, of one tier, `attainment@premium`.

    Raises:
        InputError: there is no such metric.
    """
    chosen = []
    for name in names:
        metric, _, group = name.partition("@")
        if metric not in _UNITS:
            raise InputError(f"--metric {name}: there is no metric `{metric}`; {nearest(metric, list(_UNITS))}")
        chosen.append((metric, group or EVERYONE))
    return chosen


def print_sweep(result: SweepResult, metrics: Sequence[tuple[str, str]], console: Console) -> None:
    """A line per combination of values, each metric with its 95 % interval over all seeds; 80 columns unless it is a terminal."""
    console = _fitted(console)
    keys = result.axes
    combinations: dict[tuple[str, ...], list[PointResult]] = {}
    for item in result.results:
        combinations.setdefault(item.point.sets, []).append(item)
    notes = Footnotes()
    axes = [
        [heading, *(_written(runs[0].point, key) for runs in combinations.values())] for heading, key in _zip(_headings(keys), keys)
    ]
    if axes:
        marks = [notes.mark(_caution(runs)) for runs in combinations.values()]
        axes[-1] = [axes[-1][0], *(f"{text}{raised(mark)}" for text, mark in _zip(axes[-1][1:], marks))]
    columns = [_column(metric, group, list(combinations.values()), notes) for metric, group in metrics]
    seeds = sorted({item.point.seed for item in result.results})
    for line in (
        Text(f"{len(combinations):,} points × {len(seeds)} seed{'s' * (len(seeds) > 1)}; 95 % intervals", "dim"),
        *_blocks(axes, columns, console.width),
        *(Text(f"{raised(letter(i))} {note}", "dim") for i, note in enumerate(notes.notes)),
    ):
        console.print(line, markup=False, highlight=False, overflow="fold")


def sweep_json(result: SweepResult, out: str | None) -> dict[str, Any]:
    """One object; points in the order in which they were asked for."""
    summaries = [(item, item.summary()) for item in result.results]
    return {
        "scenario": next((summary["scenario"] for _, summary in summaries if summary), None),
        "axes": result.axes,
        "points": [
            {"set": coordinates(item.point), "seed": item.point.seed, "point": item.key}
            | ({key: summary[key] for key in ("metrics", "tiers", "warnings")} if summary else {"faults": list(item.faults)})
            for item, summary in summaries
        ],
        "faults": result.faults,
        "warnings": list(result.warnings),
        "out": out,
    }


def _column(metric: str, group: str, rows: Sequence[Sequence[PointResult]], notes: Footnotes) -> list[str]:
    """Heading, unit and a text per row: values flush right, intervals flush left."""
    found = [_over_seeds(runs, metric, group) for runs in rows]
    scale = _scale(metric, found)
    cells = [_cell(e, metric, scale, notes) for e in found]
    cells = [Cell("failed") if all(run.faults for run in runs) else c for runs, c in _zip(rows, cells)]
    blank = " " * any(c.mark for c in cells)
    values = [f"{c.text}{raised(c.mark) or blank}" for c in cells]
    left = max(map(len, values))
    name = _label(metric) + ("" if group == EVERYONE else f" {group}")
    texts = [f"{value:>{left}} {c.interval}" for value, c in _zip(values, cells)]
    width = max(len(name), len(scale.unit), *map(len, texts))
    return [f"{text:{width}}" for text in (name, scale.unit, *texts)]


def _blocks(axes: Sequence[Sequence[str]], columns: Sequence[Sequence[str]], width: int) -> Iterator[Text]:
    """Lines of one table, or of several below each other, each with the axes, as wide as there is room."""
    stubs = [[heading, "", *rest] for heading, *rest in axes]
    sides = [max(map(len, column)) for column in stubs]
    room = width - sum(side + len(_GAP) for side in sides)
    waiting = list(columns)
    while waiting:
        shown = [waiting.pop(0)]
        while waiting and sum(len(column[0]) + len(_GAP) for column in (*shown, waiting[0])) <= room + len(_GAP):
            shown.append(waiting.pop(0))
        left = [[f"{text:>{side}}" for text in column] for side, column in _zip(sides, stubs)]
        for i, parts in enumerate(zip(*left, *shown, strict=True)):
            line = _GAP.join(parts).rstrip()
            if i != 1 or line:
                yield Text(line, "bold" if i == 0 else "dim" if i == 1 else "")
        if waiting:
            yield Text("")


def _over_seeds(runs: Sequence[PointResult], metric: str, group: str) -> Estimate:
    found = []
    for run in runs:
        summary = run.summary()
        if summary:
            groups = {EVERYONE: summary["metrics"], **summary["tiers"]}
            if group not in groups:
                raise InputError(f"--metric {metric}@{group}: there is no tier `{group}`; {nearest(group, list(groups))}")
            found.append(estimate(groups[group], metric))
    return pooled(metric, found)


def _caution(runs: Sequence[PointResult]) -> str:
    """The kinds of warnings that these runs gave, without their figures, and how many failed."""
    failed = sum(bool(run.faults) for run in runs)
    kinds = {
        re.sub(r"\d[\d,.]*", "…", re.split(r" \(|:|;", warning)[0]) for run in runs for warning in run.summary().get("warnings", ())
    }
    return "; ".join([*([f"{failed} of {len(runs)} seeds failed"] if 0 < failed < len(runs) else []), *sorted(kinds)])


# --- a search ---------------------------------------------------------------------------------------------------------


def print_answer(asked: Search, answer: Answer, console: Console) -> None:
    """The answer in a sentence, and the probes that it rests on."""
    console = _fitted(console)
    notes = Footnotes()
    head = "Not in the bracket. " if answer.outside else "Found. " if answer.stopped == "narrow" else "Found, within noise. "
    style = "bold yellow" if answer.outside or answer.stopped == "noise" else "bold green"
    lines = [Text.assemble((head, style), sentence(asked, answer))]
    lines.append(Text(f"{answer.runs} runs in {len(answer.trail)} probes{_against_a_grid(asked, answer)}", "dim"))
    lines.append(Text(""))
    columns = []
    for i, goal in enumerate(asked.goals):
        found = [probe.estimates[i] for probe in answer.trail]
        scale = _scale(goal.metric, found)
        cells = [_cell(e, goal.metric, scale, notes) for e in found]
        texts = [f"{c.text} {c.interval}" for c in cells]
        columns.append(
            [" ".join(filter(None, (_label(goal.metric), "" if goal.group == EVERYONE else goal.group, scale.unit))), *texts]
        )
    rows = [
        [_headings([asked.key])[0], "seeds", *(column[0] for column in columns), "goals"],
        *(
            [_shown(asked, probe.value), str(probe.seeds), *(column[j + 1] for column in columns), probe.verdict.value]
            for j, probe in enumerate(answer.trail)
        ),
    ]
    lines += _aligned(rows)
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
    scale = _scale(goal.metric, [Estimate(goal.threshold)])
    return (
        f"{_label(goal.metric)}{group} {'≥' if goal.at_least else '≤'} {f'{goal.threshold * scale.factor:g} {scale.unit}'.strip()}"
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


# --- shared -----------------------------------------------------------------------------------------------------------


def _fitted(console: Console) -> Console:
    return console if console.is_terminal else Console(file=console.file, width=_PLAIN_WIDTH)


def _scale(metric: str, estimates: Sequence[Estimate]) -> Scale:
    unit = _UNITS[metric]
    if unit == "s":
        return seconds_scale([e.value for e in estimates])
    return PERCENT if unit == "1" else PLAIN if unit == "count" else Scale({"1/s": "req/s", "tokens/s": "tok/s"}.get(unit, unit))


def _cell(estimate: Estimate, metric: str, scale: Scale, notes: Footnotes) -> Cell:
    shown = share_cell(estimate, notes) if scale is PERCENT else cell(estimate, scale, notes)
    return Cell(shown.text.removesuffix(" %"), shown.interval, shown.mark) if scale is PERCENT else shown


def _label(metric: str) -> str:
    """`TTFT p99`, `goodput`, `throughput input`."""
    name, _, statistic = metric.partition(".")
    for ending in ("_req_s", "_tok_s", "_s"):
        if name.endswith(ending):
            name = name.removesuffix(ending)
            break
    name = name.upper() if name in ("ttft", "tpot", "itl", "e2e") else name.replace("_", " ")
    return f"{name} {statistic}".strip()


def _headings(keys: Sequence[str]) -> list[str]:
    """Each key's last words, as many as tell it from the others."""
    headings = []
    for key in keys:
        words = key.split(".")
        others = [other.split(".") for other in keys if other != key]
        length = next(n for n in range(1, len(words) + 1) if n == len(words) or all(other[-n:] != words[-n:] for other in others))
        headings.append(".".join(words[-length:]))
    return headings


def _written(point: Point, key: str) -> str:
    """The value as the user wrote it."""
    return next((text.partition("=")[2] for text in point.sets if text.partition("=")[0].strip() == key), "–")


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[Text]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for i, row in enumerate(rows):
        texts = [f"{text:>{width}}" if j < 2 else f"{text:{width}}" for j, (text, width) in enumerate(_zip(row, widths))]
        yield Text(_GAP.join(texts).rstrip(), "bold" if i == 0 else _STYLES.get(row[-1], ""))


def _zip(a: Sequence[Any], b: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(a, b, strict=True)
