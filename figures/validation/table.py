"""The validation as one table: a line per measured row with its part, predictions and errors; and summaries of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures.validation import h100_ground_truth, inferencex, replays, silicon_sample
from figures.validation.measured import Measured, Replay
from figures.validation.predict import Predicted, predict_all
from figures.validation.scenarios import fingerprint_of, precision_of, uncovered
from traces.corrections import System, systems_of

if TYPE_CHECKING:
    import pandas as pd

READERS: Sequence[Callable[[Path], Iterable[Measured]]] = tuple(
    source.read for source in (silicon_sample, inferencex, h100_ground_truth, replays)
)
DIMENSIONS = ("system", "model", "gpu", "tp", "precision", "lengths", "concurrency")
METRICS = ("tpot", "ttft")
KINDS = ("assembled", "shipped", "peer")
"""The library's fingerprints as assembled from operator tables, as shipped (with an end-to-end correction where the library has one
for the row's system), and another tool."""
QUICK_EVERY = 4
GOALS = {("tpot", "median"): 0.05, ("tpot", "p90"): 0.15, ("ttft", "median"): 0.10}
"""Absolute relative errors on held-out rows of vLLM; written down before the first run."""


@dataclass(frozen=True, slots=True)
class Validation:
    """``rows``: a table with a line per predicted row. ``systems``: whose corrections were used. ``left_out``: how many rows each
    rule or gap of the library leaves out, by data set and reason. ``replays``: measured and predicted requests, by row id.
    """

    rows: pd.DataFrame
    systems: tuple[System, ...]
    left_out: Counter[tuple[str, str]]
    replays: dict[str, tuple[Measured, Predicted]]


def validate(
    data: Path, *, seed: int = 0, quick: bool = False, jobs: int | None = None, watch: Callable[[int, int], None] | None = None,
    peer: Callable[[Sequence[Measured]], Sequence[tuple[float, float] | None]] | None = None,
) -> Validation:  # fmt: skip
    """Read, split, simulate as assembled and as shipped, and compare.

    ``quick``: every fourth row. ``peer``: another tool's TTFT and TPOT (s) of the rows.

    Raises:
        InputError: the data cannot be read, or a worker died.
    """
    import pandas as pd

    kept, left_out = covered(data)
    if quick:
        kept = kept[::QUICK_EVERY]
    system = [measured_system(row) for row in kept]
    served = [(row, one) for row, one in zip(kept, system, strict=True) if one is not None]
    predictions = predict_all([*((row, None) for row in kept), *served], seed=seed, jobs=jobs, watch=watch)
    shipped = dict(zip((row.id for row, _ in served), predictions[len(kept) :], strict=True))
    left_out.update((row.dataset, "refused by the simulator") for row, one in zip(kept, predictions, strict=False) if one.refused)
    pairs = [(row, one) for row, one in zip(kept, predictions, strict=False) if not one.refused]
    table = pd.DataFrame([_line(row, one, shipped.get(row.id)) for row, one in pairs])
    answers = peer([row for row, _ in pairs]) if peer else [None] * len(pairs)
    table["peer_ttft_s"] = [a[0] if a else float("nan") for a in answers]
    table["peer_tpot_s"] = [a[1] if a else float("nan") for a in answers]
    for metric in METRICS:
        for kind in KINDS:
            table[f"{kind}_{metric}_error"] = table[f"{kind}_{metric}_s"] / table[f"{metric}_s"] - 1
    used = {one.engine + one.model + one.gpu: one for one in system if one is not None}
    return Validation(table, tuple(used.values()), left_out, {row.id: (row, one) for row, one in pairs if one.requests is not None})


def covered(data: Path) -> tuple[list[Measured], Counter[tuple[str, str]]]:
    """The rows that the library covers, and how many each rule or gap leaves out, by data set and reason.

    Raises:
        InputError: the data cannot be read.
    """
    everything = [row for read in READERS for row in read(data)]
    left_out = Counter((row.dataset, row.excluded) for row in everything if row.excluded)
    kept = [row for row in everything if row.excluded is None]
    left_out.update((row.dataset, reason) for row in kept if (reason := uncovered(row)))
    return [row for row in kept if not uncovered(row)], left_out


def measured_system(row: Measured) -> System | None:
    """The library's correction for a covered row: of its own engine version, or none."""
    if row.engine != "vLLM":
        return None
    return next((one for one in systems_of(fingerprint_of(row)) if one.version == row.version), None)


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


def _line(row: Measured, predicted: Predicted, shipped: Predicted | None) -> dict[str, Any]:
    served = shipped or predicted
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
        "assembled_ttft_s": predicted.ttft_s,
        "assembled_tpot_s": predicted.tpot_s,
        "shipped_ttft_s": served.ttft_s,
        "shipped_tpot_s": served.tpot_s,
        "corrected": shipped is not None,
        "running": served.running,
        "preempted": served.preempted,
    }
