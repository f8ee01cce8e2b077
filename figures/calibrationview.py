"""A calibration on a terminal: one line per metric, then what it does not cover."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from figures.calibration import Calibration, Error
from traces.matching import ALL

if TYPE_CHECKING:
    from rich.console import Console

_LABELS = {
    "ttft_s": "TTFT", "tpot_s": "TPOT", "e2e_s": "E2E", "attainment": "attainment", "goodput_req_s": "goodput req/s",
    "throughput_tok_s": "output tok/s",
}  # fmt: skip


def print_calibration(found: Calibration, console: Console) -> None:
    """The table, the verdict and the gaps."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("metric", "vLLM", "sim", "error", "95 %", "spread", "allowed", ""):
        table.add_column(name, justify="left" if name in ("metric", "") else "right", no_wrap=True)
    for group, rows in groupby(found.errors, key=lambda error: error.group):
        if group != ALL:
            table.add_row(f"{group}:", style="bold")
        for error in rows:
            table.add_row(*_cells(error))
    name, noise = found.fingerprint.name, found.fingerprint.residual
    console.print(f"{found.scenario} on {found.device}: the simulator against {len(found.real)} real runs", highlight=False)
    console.print(
        f"fingerprint {name} ({found.fingerprint.provenance}, step noise {noise:.0%}); front end {1e3 * found.front_end_s:.2f} ms",
        highlight=False,
    )
    console.print(table)
    console.print("Not covered:", style="bold")
    for sentence in found.uncovered:
        console.print(f"- {sentence}", highlight=False)


def _cells(error: Error) -> list[str]:
    key, _, statistic = error.metric.partition(".")
    unit = "pt" if key == "attainment" else "%"

    def value(x: float) -> str:
        if statistic:
            return f"{1e3 * x:,.2f}"
        return f"{100 * x:.1f} %" if key == "attainment" else f"{x:,.1f}"

    def share(x: float | None, sign: str = "") -> str:
        return "–" if x is None else f"{100 * x:{sign}.{1 if abs(x) < 1 else 0}f} {unit}"

    interval = "–" if error.lo is None or error.hi is None else f"{100 * error.lo:+.0f} to {100 * error.hi:+.0f}"
    verdict = {None: "", True: "holds", False: "missed"}[error.holds]
    label = f"{_LABELS[key]} {statistic}, ms" if statistic else _LABELS[key]
    return [
        label,
        value(error.real),
        value(error.sim),
        share(error.error, "+"),
        interval,
        share(error.spread),
        share(error.allowed),
        verdict,
    ]
