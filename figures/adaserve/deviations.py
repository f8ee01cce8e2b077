"""How far each system's attainment is from its own digitised curve, so that a wrong order can be told from whose curve is off; and
how far the paper's own figures are apart where they have the same point.

.venv/bin/twinserve figures adaserve-rates adaserve-sourced adaserve-urgency adaserve-objectives --out DIR
.venv/bin/python -m figures.adaserve.deviations DIR
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from figures.adaserve import curves, digitised
from figures.adaserve.load import FirstRead, Objectives, OverX, Rates, Urgency
from figures.adaserve.settings import DEPLOYMENTS, PAPERS, Deployment
from traces.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

FIGURES: tuple[type[OverX], ...] = (FirstRead, Rates, Urgency, Objectives)


class Off(NamedTuple):
    """Ours less the paper's, in points of attainment: ``mean`` and ``mean_abs`` over x, the ``largest``, and the ``x`` of that."""

    mean: float
    mean_abs: float
    largest: float
    x: float


def off(frame: DataFrame, figure: str, deployment: Deployment, system: str) -> Off | None:
    """Of one system, seeds taken together; ``None`` where the curve is not at hand."""
    points = digitised.curve(figure, deployment.name, "SLO", system)
    rows = frame[(frame["model"] == deployment.key) & (frame["metric"] == "attainment") & (frame["system"] == system)]
    ours = 100 * rows.groupby("x")["value"].mean()
    pairs = zip(ours.index.tolist(), ours.tolist(), strict=True)
    gaps = {x: y - there for x, y in pairs if (there := digitised.between(points, x)) is not None}
    if not gaps:
        return None
    x = max(gaps, key=lambda at: abs(gaps[at]))
    count = len(gaps)
    return Off(sum(gaps.values()) / count, sum(map(abs, gaps.values())) / count, gaps[x], x)


def cells(frame: DataFrame, figure: str, deployment: Deployment) -> tuple[str, str]:
    """For a table: the share of pairs in the paper's order; and each system's mean gap, in brackets that of its absolute value."""
    order = curves.order_kept(frame, figure, deployment, "attainment", PAPERS).value
    gaps = [off(frame, figure, deployment, system) for system in PAPERS]
    told = ["–" if gap is None else f"{gap.mean:+.0f} ({gap.mean_abs:.0f})" for gap in gaps]
    return "–" if order is None else f"{order:.2f}", " | ".join(told)


def table(folder: Path) -> Iterator[str]:
    """Markdown, a row per deployment and system, from the figures' CSV files anywhere under ``folder``.

    Raises:
        InputError: a figure's file, or the digitised curves, are not there.
    """
    import pandas as pd

    if not digitised.FILE.is_file():
        raise InputError(f"{digitised.FILE}: the digitised curves are not there; put the data folder beside the project")
    frames = []
    for figure in FIGURES:
        found = sorted(folder.rglob(f"{figure.name}.csv"))
        if not found:
            raise InputError(f"{folder}: holds no {figure.name}.csv; make it with `twinserve figures {figure.name} --out {folder}`")
        frames.append(pd.read_csv(found[0]))
    names = [figure.figures[0].removeprefix("fig") for figure in FIGURES]
    heads = [f"Figure {name}, `{figure.name}`" for figure, name in zip(FIGURES, names, strict=True)]
    yield "| deployment | system | " + " | ".join(heads) + " |"
    yield "|---|---|" + "---|" * len(names)
    for deployment in DEPLOYMENTS:
        for system in PAPERS:
            row = [_cell(off(frame, f"fig{name}", deployment, system)) for frame, name in zip(frames, names, strict=True)]
            yield f"| {deployment.name} | {system} | " + " | ".join(row) + " |"


def repeats() -> Iterator[str]:
    """Markdown: the point that the paper has in three figures (4 requests/s, 60 % coding, 1.2), and how far these are apart."""
    points = (("fig8", 4.0), ("fig10", 60.0), ("fig11", 1.2))
    yield "| deployment | system | Figure 8 at 4.0 | Figure 10 at 60 % | Figure 11 at 1.2 | apart |"
    yield "|---|---|---|---|---|---|"
    for deployment in DEPLOYMENTS:
        for system in PAPERS:
            found = [digitised.between(digitised.curve(figure, deployment.name, "SLO", system), x) or 0.0 for figure, x in points]
            told = " | ".join(f"{value:.1f}" for value in found)
            yield f"| {deployment.name} | {system} | {told} | {max(found) - min(found):.1f} |"


def _cell(found: Off | None) -> str:
    return "–" if found is None else f"{found.mean:+.1f} ({found.mean_abs:.1f}); {found.largest:+.0f} at {found.x:g}"


if __name__ == "__main__":
    try:
        print("\n".join((*table(Path(sys.argv[1] if len(sys.argv) > 1 else ".")), "", *repeats())))
    except InputError as error:
        sys.exit(str(error))
