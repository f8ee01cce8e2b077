"""The validation as one table: a line per measured row with its part, predictions and errors; and summaries of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures.validation import h100_ground_truth, inferencex, replays, silicon_sample
from figures.validation.calibration import Calibration, calibrated, cross_validated, fit
from figures.validation.measured import Measured, Replay
from figures.validation.predict import Predicted, predict_all
from figures.validation.scenarios import precision_of, uncovered

if TYPE_CHECKING:
    import pandas as pd

READERS: Sequence[Callable[[Path], Iterable[Measured]]] = tuple(
    source.read for source in (silicon_sample, inferencex, h100_ground_truth, replays)
)
DIMENSIONS = ("system", "model", "gpu", "tp", "precision", "lengths", "concurrency")
METRICS = ("tpot", "ttft")
KINDS = ("sim", "calibrated", "peer")
"""The simulator as shipped, with its systems calibrated, and another tool."""
QUICK_EVERY = 4
GOALS = {("tpot", "median"): 0.05, ("tpot", "p90"): 0.15, ("ttft", "median"): 0.10}
"""Absolute relative errors on held-out rows of vLLM; written down before the first run."""


@dataclass(frozen=True, slots=True)
class Validation:
    """``rows``: a table with a line per predicted row. ``systems``: what was fitted, by system. ``left_out``: how many rows each
    rule or gap of the library leaves out, by data set and reason. ``replays``: measured and predicted requests, by row id.
    """

    rows: pd.DataFrame
    systems: dict[str, Calibration]
    left_out: Counter[tuple[str, str]]
    replays: dict[str, tuple[Measured, Predicted]]


def validate(
    data: Path, *, seed: int = 0, quick: bool = False, jobs: int | None = None, watch: Callable[[int, int], None] | None = None,
    peer: Callable[[Sequence[Measured]], Sequence[tuple[float, float] | None]] | None = None,
) -> Validation:  # fmt: skip
    """Read, split, simulate, fit each system's constants on its fit part, and compare.

    ``quick``: every fourth row. ``peer``: another tool's TTFT and TPOT (s) of the rows.

    Raises:
        InputError: the data cannot be read, or a worker died.
    """
    import pandas as pd

    everything = [row for read in READERS for row in read(data)]
    left_out = Counter((row.dataset, row.excluded) for row in everything if row.excluded)
    kept = [row for row in everything if row.excluded is None]
    left_out.update((row.dataset, reason) for row in kept if (reason := uncovered(row)))
    kept = [row for row in kept if not uncovered(row)]
    if quick:
        kept = kept[::QUICK_EVERY]
    predictions = predict_all(kept, seed=seed, jobs=jobs, watch=watch)
    left_out.update((row.dataset, "refused by the simulator") for row, one in zip(kept, predictions, strict=True) if one.refused)
    pairs = [(row, one) for row, one in zip(kept, predictions, strict=True) if not one.refused]
    table = pd.DataFrame([_line(row, one) for row, one in pairs])
    answers = peer([row for row, _ in pairs]) if peer else [None] * len(pairs)
    table["peer_ttft_s"] = [a[0] if a else float("nan") for a in answers]
    table["peer_tpot_s"] = [a[1] if a else float("nan") for a in answers]
    systems = {}
    for name, rows in table.groupby("system"):
        systems[str(name)] = constants = fit(rows[rows["part"] == "fit"])
        ttft, tpot = calibrated(rows, constants)
        table.loc[rows.index, ["calibrated_ttft_s", "calibrated_tpot_s"]] = list(zip(ttft, tpot, strict=True))
    for metric in METRICS:
        for kind in KINDS:
            table[f"{kind}_{metric}_error"] = table[f"{kind}_{metric}_s"] / table[f"{metric}_s"] - 1
    return Validation(table, systems, left_out, {row.id: (row, one) for row, one in pairs if one.requests is not None})


def summary(rows: pd.DataFrame, by: str | None = None) -> pd.DataFrame:
    """Median and p90 absolute relative errors, as shares: a line per value of ``by``, or one of all rows.

    Columns: ``rows``; for each metric and each of ``KINDS``: ``tpot_sim_median``, ``tpot_sim_p90``, …; and
    ``peer_rows``, the rows that the peer answered.
    """
    import pandas as pd

    groups = [("all", rows)] if by is None else sorted(rows.groupby(by, sort=False), key=lambda group: _order(group[0]))
    lines = []
    for name, group in groups:
        line: dict[str, Any] = {by or "rows of": name, "rows": len(group), "peer_rows": int(group["peer_tpot_error"].notna().sum())}
        for metric in METRICS:
            for kind in KINDS:
                errors = group[f"{kind}_{metric}_error"].abs()
                line[f"{metric}_{kind}_median"], line[f"{metric}_{kind}_p90"] = errors.median(), errors.quantile(0.9)
        lines.append(line)
    return pd.DataFrame(lines)


def cross_validation(found: Validation, engine: str) -> dict[str, tuple[float, float]]:
    """By metric, median and p90 of the absolute relative errors in the fit part when each row is predicted from other folds."""
    import pandas as pd

    part = found.rows[(found.rows["part"] == "fit") & (found.rows["engine"] == engine)]
    errors: dict[str, list[pd.Series]] = {metric: [] for metric in METRICS}
    for _, rows in part.groupby("system"):
        for metric, values in zip(("ttft", "tpot"), cross_validated(rows), strict=True):
            errors[metric].append((values / rows[f"{metric}_s"] - 1).abs())
    joined = {metric: pd.concat(parts) for metric, parts in errors.items() if parts}
    return {metric: (float(all_.median()), float(all_.quantile(0.9))) for metric, all_ in joined.items()}


def replay_errors(found: Validation) -> pd.DataFrame:
    """Measured and simulated distributions over the requests of each replay: two lines each, TTFT and TPOT."""
    import pandas as pd

    lines = []
    for row, predicted in found.replays.values():
        assert isinstance(row.load, Replay)
        assert predicted.requests is not None
        for metric, measured in (("ttft", row.load.ttft_s), ("tpot", row.load.tpot_s)):
            real, simulated = pd.Series(measured), predicted.requests[f"{metric}_s"]
            line = {"id": row.id, "gpu": row.gpu, "part": row.part, "requests": len(real), "metric": metric}
            line |= {"measured_s": real.mean(), "simulated_s": simulated.mean(), "mean_error": simulated.mean() / real.mean() - 1}
            quantiles = {f"p{p}_error": simulated.quantile(p / 100) / real.quantile(p / 100) - 1 for p in (50, 90, 99)}
            lines.append(line | quantiles)
    return pd.DataFrame(lines)


def _order(value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, int | float) else (1, str(value))


def _line(row: Measured, predicted: Predicted) -> dict[str, Any]:
    return {
        "dataset": row.dataset,
        "id": row.id,
        "part": row.part,
        "system": row.system,
        "engine": row.engine,
        "version": row.version,
        "model": row.model,
        "gpu": row.gpu,
        "tp": row.tensor_parallel,
        "precision": precision_of(row),
        "lengths": f"{row.prompt_tokens}/{row.output_tokens}",
        "prompt_tokens": row.prompt_tokens,
        "output_tokens": row.output_tokens,
        "concurrency": row.concurrency or 0,
        "ttft_s": row.ttft_s,
        "tpot_s": row.tpot_s,
        "sim_ttft_s": predicted.ttft_s,
        "sim_tpot_s": predicted.tpot_s,
        "running": predicted.running,
        "preempted": predicted.preempted,
    }
