"""The validation in words and tables (Markdown), and as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from figures.validation.table import DIMENSIONS, GOALS, METRICS, Validation, replay_errors, summary

if TYPE_CHECKING:
    import pandas as pd

VLLM = "vLLM"
_RESAMPLES = 2000
_KINDS = {"assembled": "as assembled", "shipped": "as shipped", "peer": "AIConfigurator"}


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
        "goals": [
            {"metric": m, "statistic": s, "at_most": g, "found": f, "interval": interval(found, m, s), "met": f <= g}
            for m, s, g, f in goals(found)
        ],
        "corrections": [system.to_dict() for system in found.systems],
        "replays": _records(replay_errors(found)),
        "left_out": [{"dataset": d, "reason": r, "rows": n} for (d, r), n in sorted(found.left_out.items())],
    }


def goals(found: Validation) -> list[tuple[str, str, float, float]]:
    """Metric, statistic, goal, and what held-out rows of vLLM give as shipped."""
    line = summary(_vllm(found, "held out")).iloc[0]
    return [(metric, statistic, goal, float(line[f"{metric}_shipped_{statistic}"])) for (metric, statistic), goal in GOALS.items()]


def interval(found: Validation, metric: str, statistic: str) -> tuple[float, float]:
    """95 % of what the goal's statistic would be on other held-out rows like these: bootstrap over configurations, which keeps
    repeated measurements together."""
    import numpy as np

    held = _vllm(found, "held out")
    keys = held.groupby(["system", "tp", "lengths", "concurrency", "precision"], sort=True).ngroup().to_numpy()
    errors = held[f"shipped_{metric}_error"].abs().to_numpy(float)
    groups = [errors[keys == key] for key in np.unique(keys)]
    share = {"median": 0.5, "p90": 0.9}[statistic]
    rng = np.random.default_rng(0)
    drawn = [
        np.quantile(np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))]), share)
        for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _lines(found: Validation) -> Iterator[str]:
    held, fit = _vllm(found, "held out"), _vllm(found, "fit")
    yield f"## Held-out rows of vLLM: {len(held)} (fit part: {len(fit)})"
    yield ""
    for metric, statistic, goal, value in goals(found):
        verdict = "met" if value <= goal else "NOT met"
        low, high = interval(found, metric, statistic)
        yield (
            f"- {metric.upper()} {statistic} absolute error {value:.1%} (95 % interval {low:.1%} to {high:.1%}); "
            f"goal at most {goal:.0%}: {verdict}"
        )
    yield ""
    yield from _table(_headline(held), "rows of")
    for by in DIMENSIONS:
        yield from ("", f"### By {by}", "", *_table(summary(held, by), by))
    yield from ("", "## Fit part, by system", "", *_table(summary(fit, "system"), "system"))
    if len(others := _others(found)):
        yield from (
            "",
            "## Other engines, by vLLM's fingerprints",
            "",
            *_table(summary(others, "system"), "system", ("assembled",)),
        )
    if found.systems:
        yield from ("", "## Corrections", "", *_constants(found))
    if found.replays:
        yield from ("", "## Replays, request by request", "", *_replays(replay_errors(found)))
    yield from ("", "## Left out", "", "| rows | data set | because |", "|--:|--|--|")
    yield from (f"| {rows} | {dataset} | {reason} |" for (dataset, reason), rows in sorted(found.left_out.items()))


def _headline(held: pd.DataFrame) -> pd.DataFrame:
    """All rows; those of systems with and without a correction; and those that the other tool answers."""
    import pandas as pd

    parts = {
        "systems with a correction": held[held["corrected"]],
        "systems without": held[~held["corrected"]],
        "that AIConfigurator answers": held[held["peer_tpot_error"].notna()],
    }
    lines = [summary(rows).assign(**{"rows of": name}) for name, rows in parts.items() if len(rows)]
    return pd.concat([summary(held), *lines], ignore_index=True)


def _table(lines: pd.DataFrame, by: str, kinds: Sequence[str] = tuple(_KINDS)) -> Iterator[str]:
    kinds = [kind for kind in kinds if kind != "peer" or lines["peer_rows"].any()]
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
    yield "| system | fit rows | TPOT, cross-validated | TTFT, cross-validated | correction | front end: ms | µs per prompt token |"
    yield "|--|--:|--:|--:|--|--:|--:|"
    for one in found.systems:
        errors = [one.errors[f"{metric}, cross-validated"] for metric in ("TPOT", "TTFT")]
        shown = " | ".join(f"{middle:.1%} / {high:.0%}" for middle, high, _ in errors)
        yield (
            f"| {one.model}, {one.engine}, {one.gpu} | {one.rows} | {shown} | {one.correction.words()} "
            f"| {one.frontend_s * 1e3:.1f} | {one.frontend_per_token_s * 1e6:.1f} |"
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
