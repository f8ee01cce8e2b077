"""An A/B comparison on a terminal: the verdict in a sentence, a table per tier, where the arms first went different ways."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from figures.console import raised
from figures.tables import Footnotes, letter
from figures.units import PERCENT, PLAIN, Scale, count, known, seconds_scale, share
from traces.compare import HEADLINE, Comparison, Difference, Finding
from traces.divergence import LOAD, Choice, Divergence
from traces.matching import ALL

if TYPE_CHECKING:
    from sim.compare import Experiment

_PLAIN_WIDTH = 80


@dataclass(frozen=True, slots=True)
class Row:
    """A metric as it is spoken of. ``more``, ``less``: what B is where the difference is positive, negative."""

    metric: str
    label: str
    unit: str
    more: str
    less: str
    more_is_better: bool


_LATENCIES = tuple(
    Row(f"{key}.{statistic}", f"{label} {statistic}", "s", "longer", "shorter", False)
    for label, key in (("TTFT", "ttft_s"), ("TPOT", "tpot_s"), ("E2E", "e2e_s"))
    for statistic in ("mean", "p50", "p99")
)
ROWS = (
    Row("attainment", "attainment", "%", "more", "less", True),
    Row("goodput_req_s", "goodput", "req/s", "more", "less", True),
    Row("throughput_tok_s", "throughput", "tok/s", "more", "less", True),
    Row("usd_per_mtok", "cost", "$/Mtok", "dearer", "cheaper", False),
    *_LATENCIES,
)
_SPOKEN = ("attainment", "goodput_req_s", "ttft_s.p99", "tpot_s.p99", "usd_per_mtok")
_STAND_IN = {"ttft_s.p99": "ttft_s.mean", "tpot_s.p99": "tpot_s.mean"}
_BY_METRIC = {row.metric: row for row in ROWS}


def verdict(comparison: Comparison) -> str:
    """In a sentence or two: attainment, goodput, the p99 of TTFT and TPOT, or its mean where that alone differs, and cost."""
    if comparison.differences and all(d.finding is Finding.SAME for d in comparison.differences):
        return "No difference: both arms gave the same figures, to the last digit."
    found = [d for metric in _SPOKEN if (d := comparison.get(metric)) is not None]
    told = (Finding.SHOWN, Finding.ALONE)
    means = [comparison.get(_STAND_IN[d.metric]) for d in found if d.metric in _STAND_IN and d.finding not in told]
    parts = [words(d, comparison.names) for d in (*found, *means) if d is not None and d.finding in told]
    for doubt, findings in (
        ("no difference shown", (Finding.NOT_SHOWN, Finding.SAME)),
        ("the runs are too short to tell", (Finding.UNKNOWN,)),
    ):
        if labels := [_BY_METRIC[d.metric].label for d in found if d.finding in findings]:
            parts.append(f"{', '.join(labels)}: {doubt}")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if not text.startswith(comparison.names[1]) else text + "."


def words(d: Difference, names: tuple[str, str]) -> str:
    """One difference: ``B attains 3.1 ± 0.4 points more``, ``TTFT p99 is 55 ± 13 ms shorter``, ``cost: no difference shown``."""
    row = _BY_METRIC[d.metric]
    if d.finding is Finding.UNKNOWN:
        return f"{row.label}: unknown" + (f" ({d.note})" if d.note else "")
    if d.finding is Finding.SAME:
        return f"{row.label}: the same"
    if d.finding is Finding.NOT_SHOWN:
        return f"{row.label}: no difference shown"
    scale, unit = scale_of(row, [d])
    amount = _amount(d, scale)
    direction = row.more if d.difference > 0 else row.less
    if row.metric == "attainment":
        return f"{names[1]} attains {amount} points {direction}" + (f" than {names[0]}" if (d.group, d.metric) == HEADLINE else "")
    return f"{row.label} is {amount} {unit} {direction}"


def as_json(found: Experiment) -> dict[str, Any]:
    """All of an experiment as plain data, with the verdicts in words."""
    comparison = found.comparison
    data = comparison.to_json()
    for d in comparison.differences:
        if d.metric in _BY_METRIC:
            data["groups"][d.group][d.metric]["words"] = words(d, comparison.names)
    return {
        "verdict": verdict(comparison),
        **data,
        "divergences": [one.to_json() for one in found.divergences],
        "warnings": list(found.warnings),
    }


def print_comparison(found: Experiment, console: Console) -> None:
    """Sentence first, warnings last; 80 columns unless the terminal is another width."""
    if not console.is_terminal:
        console = Console(file=console.file, width=_PLAIN_WIDTH)
    comparison, notes = found.comparison, Footnotes()
    lines = [Text(verdict(comparison), "bold"), Text(_arms(comparison), "dim")]
    for group in comparison.groups():
        lines += [Text(""), *_table(comparison, group, notes)]
    lines += [Text(f"{raised(letter(i))} {note}", "dim") for i, note in enumerate(notes.notes)]
    lines.append(Text(""))
    if multiplicity := comparison.multiplicity():
        lines.append(Text.assemble(("Read with care: ", "bold"), multiplicity + "."))
    lines += list(_apart(comparison, found.divergences))
    lines += [Text.assemble(("Note: ", "bold"), note + ".") for note in comparison.notes]
    lines += [Text.assemble(("Warning: ", "bold yellow"), warning) for warning in found.warnings]
    for line in lines:
        console.print(line, markup=False, highlight=False, overflow="fold")


def _arms(comparison: Comparison) -> str:
    a, b = comparison.names
    return " · ".join([f"A = {a}", f"B = {b}", what_ran(comparison)])


def what_ran(comparison: Comparison) -> str:
    """Under which seeds, and what the pairing was worth."""
    seeds = comparison.seeds
    span = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds, {seeds[0]}–{seeds[-1]}"
    parts = [f"the same requests and noise in both ({span})"]
    headline = comparison.get(HEADLINE[1]) or comparison.get("ttft_s.mean")
    if headline is not None and headline.gain is not None:
        gain = f"{headline.gain:.0f}" if headline.gain >= 9.5 else f"{headline.gain:.1f}"
        parts.append(f"pairing divides the variance of {_BY_METRIC[headline.metric].label} by {gain}")
    return " · ".join(parts)


def _table(comparison: Comparison, group: str, notes: Footnotes) -> Iterator[Text]:
    title = "all requests" if group == ALL else f"tier {group}"
    yield Text(f"{title:20}{'A':>9}  {'B':>9}  {'B − A':>9}  {'95 % interval':17} verdict", "bold")
    for row, d in rows_of(comparison, group):
        unit, a, b, difference, interval = figures_of(row, d)
        mark = notes.mark(d.note)
        text = f"{row.label:13}{unit:7}{a:>9}  {b:>9}  {difference:>9}  {interval:17} "
        yield Text.assemble(text, judged(d, row), raised(mark))


def rows_of(comparison: Comparison, group: str) -> Iterator[tuple[Row, Difference]]:
    """What a table shows of a group: each metric that both arms have, with its difference."""
    for row in ROWS:
        if (d := comparison.get(row.metric, group)) is not None:
            yield row, d


def figures_of(row: Row, d: Difference) -> tuple[str, str, str, str, str]:
    """Unit, A, B, B − A and its interval as texts."""
    scale, unit = scale_of(row, [d])
    interval = f"{scale.number(d.lo, d.lo, d.hi)} … {scale.number(d.hi, d.lo, d.hi)}" if known(d.lo) and d.lo != d.hi else ""
    a, b = (max(scale.number(value, d.lo, d.hi), scale.number(value), key=len) for value in (d.a, d.b))
    difference = scale.number(d.difference, d.lo, d.hi) if d.finding is not Finding.SAME else "0"
    return unit, a, b, difference, interval


def judged(d: Difference, row: Row) -> tuple[str, str]:
    """The verdict on one difference, and its style on a terminal."""
    better = (d.difference > 0) == row.more_is_better
    match d.finding:
        case Finding.SHOWN:
            return ("B better", "green") if better else ("B worse", "red")
        case Finding.ALONE:
            return ("B better?", "yellow") if better else ("B worse?", "yellow")
        case Finding.NOT_SHOWN:
            return "not shown", "dim"
        case Finding.SAME:
            return "same", "dim"
        case _:
            return "unknown", "dim"


def scale_of(row: Row, differences: Sequence[Difference]) -> tuple[Scale, str]:
    """The scale that suits these figures, and its unit."""
    if row.unit == "s":
        scale = seconds_scale([value for d in differences for value in (d.a, d.b)])
        return scale, scale.unit
    if row.unit == "$/Mtok" and max(value for d in differences for value in (d.a, d.b)) < 1:
        return Scale("", 100.0), "¢/Mtok"
    return (PERCENT if row.unit == "%" else PLAIN), row.unit


def _amount(d: Difference, scale: Scale) -> str:
    """``55 ± 13``, without a sign."""
    size = scale.number(abs(d.difference), d.lo, d.hi)
    if d.lo is None or d.hi is None or d.lo == d.hi:
        return size
    return f"{size} ± {scale.number((d.hi - d.lo) / 2, d.lo, d.hi)}"


# --- where they went different ways -----------------------------------------------------------------------------------


def _apart(comparison: Comparison, found: Sequence[Divergence]) -> Iterator[Text]:
    if not found:
        if comparison.apart_share == 0:
            yield Text.assemble(("Routing: ", "bold"), "every request went to the same engine in both arms.")
        return
    yield Text.assemble(("Routing: ", "bold"), f"{share(comparison.apart_share)} of requests went to another engine.")
    for i, one in enumerate(found):
        yield Text(introduced(found, i))
        for name, choice in zip("AB", (one.a, one.b), strict=True):
            yield Text(f"  {name} {chose(choice)}")
        yield from _loads(one)


def introduced(found: Sequence[Divergence], i: int) -> str:
    """Which of the diverging decisions this is, and on what request."""
    one = found[i]
    which = "The first" if i == 0 else "The first that was no tie" if found[0].tie else "Then"
    which += ", a tie" if one.tie else ""
    return f"{which}: request {one.request} ({one.tier}, {count(one.prompt_tokens)} prompt tokens) at {one.a.now_s:.3f} s"


def chose(choice: Choice) -> str:
    """What an arm did with it, and why."""
    return {"Assign": f"→ {choice.engine}", "Hold": "holds it", "Shed": "sheds it"}.get(
        choice.kind, choice.kind
    ) + f": {choice.reason}"


def _loads(one: Divergence) -> Iterator[Text]:
    """What each arm saw of the engines that either chose."""
    yield Text(f"    {'':14}{'running':>8}{'waiting':>9}{'to prefill':>12}{'KV tokens':>11}{'score':>10}", "dim")
    for i, arm in enumerate("AB"):
        for engine, views in one.loads.items():
            view = views[i]
            if view is None:
                yield Text(f"    {engine} in {arm}: not in its view", "dim")
                continue
            score = f"{view['score']:g}" if view["score"] is not None else "not scored"
            loads = "".join(f"{view[key]:>{width},}" for key, width in zip(LOAD, (8, 9, 12, 11), strict=True))
            yield Text(f"    {f'{engine} in {arm}':14}{loads}{score:>11}", "dim")
