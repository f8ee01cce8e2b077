"""The validation in words and tables (Markdown), and as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from figures.validation.calibration import FOLDS
from figures.validation.table import DIMENSIONS, GOALS, METRICS, Validation, cross_validation, replay_errors, summary

if TYPE_CHECKING:
    import pandas as pd

VLLM = "vLLM"
_KINDS = {"sim": "simulated", "calibrated": "calibrated", "peer": "AIConfigurator"}


def markdown(found: Validation) -> str:
    """Everything, held-out rows of vLLM first."""
    return "\n".join(_lines(found)) + "\n"


def as_json(found: Validation) -> dict[str, Any]:
    """The same as plain data; shares, seconds and counts."""
    held = _vllm(found, "held out")
    return {
        "held_out": _records(summary(held)),
        "fit": _records(summary(_vllm(found, "fit"))),
        "by": {by: _records(summary(held, by)) for by in DIMENSIONS},
        "other_engines": _records(summary(_others(found), "system")),
        "goals": [{"metric": m, "statistic": s, "at_most": g, "found": f, "met": f <= g} for m, s, g, f in goals(found)],
        "calibration": {system: asdict(constants) for system, constants in found.systems.items()},
        "replays": _records(replay_errors(found)),
        "left_out": [{"dataset": d, "reason": r, "rows": n} for (d, r), n in sorted(found.left_out.items())],
    }


def goals(found: Validation) -> list[tuple[str, str, float, float]]:
    """Metric, statistic, goal, and what held-out rows of vLLM give of calibrated systems."""
    line = summary(_vllm(found, "held out")).iloc[0]
    return [
        (metric, statistic, goal, float(line[f"{metric}_calibrated_{statistic}"])) for (metric, statistic), goal in GOALS.items()
    ]


def _lines(found: Validation) -> Iterator[str]:
    held, fit = _vllm(found, "held out"), _vllm(found, "fit")
    yield f"## Held-out rows of vLLM: {len(held)} (fit part: {len(fit)})"
    yield ""
    for metric, statistic, goal, value in goals(found):
        verdict = "met" if value <= goal else "NOT met"
        yield f"- {metric.upper()} {statistic} absolute error {value:.1%}; goal at most {goal:.0%}: {verdict}"
    for metric, (middle, high) in cross_validation(found, VLLM).items():
        yield f"- inside the fit part, cross-validated in {FOLDS} folds: {metric.upper()} {middle:.1%} / {high:.0%}"
    yield ""
    yield from _table(_headline(held), "rows of")
    for by in DIMENSIONS:
        yield from ("", f"### By {by}", "", *_table(summary(held, by), by))
    yield from ("", "## Fit part, by system", "", *_table(summary(fit, "system"), "system"))
    if len(others := _others(found)):
        yield from ("", "## Other engines, by vLLM's fingerprints", "", *_table(summary(others, "system"), "system"))
    yield from ("", "## Constants of the calibrated systems", "", *_constants(found))
    if found.replays:
        yield from ("", "## Replays, request by request", "", *_replays(replay_errors(found)))
    yield from ("", "## Left out", "", "| rows | data set | because |", "|--:|--|--|")
    yield from (f"| {rows} | {dataset} | {reason} |" for (dataset, reason), rows in sorted(found.left_out.items()))


def _headline(held: pd.DataFrame) -> pd.DataFrame:
    """All rows, and those alone that the other tool answers."""
    import pandas as pd

    answered = held[held["peer_tpot_error"].notna()]
    lines = [summary(held), summary(answered).assign(**{"rows of": "that AIConfigurator answers"})][: 2 if len(answered) else 1]
    return pd.concat(lines, ignore_index=True)


def _table(lines: pd.DataFrame, by: str) -> Iterator[str]:
    kinds = [kind for kind in _KINDS if kind != "peer" or lines["peer_rows"].any()]
    heads = [f"{metric.upper()} {_KINDS[kind]}" for metric in METRICS for kind in kinds]
    yield f"| {by} | rows | {' | '.join(heads)} |"
    yield "|--|--:|" + "--:|" * len(heads)
    for line in lines.to_dict("records"):
        cells = []
        for metric in METRICS:
            for kind in kinds:
                middle, high = line[f"{metric}_{kind}_median"], line[f"{metric}_{kind}_p90"]
                few = f" ({line['peer_rows']})" if kind == "peer" and 0 < line["peer_rows"] < line["rows"] else ""
                cells.append("–" if middle != middle else f"{middle:.1%} / {high:.0%}{few}")
        name = "open loop" if by == "concurrency" and not line[by] else line[by]
        yield f"| {name} | {line['rows']} | {' | '.join(cells)} |"


def _constants(found: Validation) -> Iterator[str]:
    yield "| system | TPOT: pace | step, ms | running request, µs | TTFT: pace | base, ms | prompt token, µs | steps waited |"
    yield "|--|--:|--:|--:|--:|--:|--:|--:|"
    for system, c in found.systems.items():
        if c.fitted and VLLM in system:
            yield (
                f"| {system} | {c.pace:.2f} | {c.step_s * 1e3:.2f} | {c.request_s * 1e6:.0f} "
                f"| {c.prefill_pace:.2f} | {c.base_s * 1e3:.0f} | {c.token_s * 1e6:.1f} | {c.waited_steps:.1f} |"
            )


def _replays(lines: pd.DataFrame) -> Iterator[str]:
    yield "| replay | part | requests | metric | measured mean, s | simulated | error of mean | p50 | p90 | p99 |"
    yield "|--|--|--:|--|--:|--:|--:|--:|--:|--:|"
    for _, line in lines.iterrows():
        errors = " | ".join(f"{line[name]:+.1%}" for name in ("mean_error", "p50_error", "p90_error", "p99_error"))
        yield (
            f"| {line['id']} on {line['gpu']} | {line['part']} | {line['requests']} | {line['metric'].upper()} "
            f"| {line['measured_s']:.4g} | {line['simulated_s']:.4g} | {errors} |"
        )


def _vllm(found: Validation, part: str) -> pd.DataFrame:
    rows = found.rows
    return rows[(rows["part"] == part) & (rows["engine"] == VLLM)]


def _others(found: Validation) -> pd.DataFrame:
    return found.rows[found.rows["engine"] != VLLM]


def _records(lines: pd.DataFrame) -> Sequence[dict[str, Any]]:
    """NaN is unknown: null."""
    return [{k: None if v != v else v for k, v in record.items()} for record in lines.to_dict("records")]
