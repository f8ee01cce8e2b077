"""Six points of Figures 8, 10 and 11 for each deployment, and how far systems are from the paper's curves there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from figures.adaserve import curves, digitised
from figures.adaserve.readings import BY_TOKEN
from figures.adaserve.settings import Deployment, traced

if TYPE_CHECKING:
    from pandas import DataFrame

RATES: Mapping[str, tuple[float, float]] = {"llama": (3.4, 4.8), "qwen": (3.0, 4.2)}
"""Of Figure 8, a middle one and the highest."""
URGENT = (20.0, 90.0)
"""Per cent, of Figure 10."""
SCALES = (1.6, 1.0)
"""Of Figure 11."""


class Point(NamedTuple):
    """``figure``: the paper's, as its digitised data name it. No two points of a deployment have the same ``x``."""

    figure: str
    x: float
    workload: str


def points(deployment: Deployment, tokens: int = BY_TOKEN.output_tokens) -> list[Point]:
    """Where ours is held against the paper, at so many output ``tokens``."""
    return [
        *(Point("fig8", rate, traced(deployment, rate, output_tokens=tokens)) for rate in RATES[deployment.key]),
        *(Point("fig10", share, traced(deployment, 4.0, urgent=share / 100, output_tokens=tokens)) for share in URGENT),
        *(Point("fig11", scale, traced(deployment, 4.0, scale=scale, output_tokens=tokens)) for scale in SCALES),
    ]


def heads(deployment: Deployment) -> str:
    """Of a table's columns."""
    return " | ".join(f"Fig. {point.figure[3:]} at {point.x:g}" for point in points(deployment))


def gaps(frame: DataFrame, deployment: Deployment, system: str) -> list[float]:
    """Points of attainment above the paper's curve, one for each point."""
    found = []
    for figure, x, _ in points(deployment):
        theirs = digitised.between(digitised.curve(figure, deployment.name, "SLO", system), x)
        ours = curves.value_at(frame, deployment.key, system, "attainment", x, 100.0).value
        found.append((ours or 0.0) - (theirs or 0.0))
    return found


def mean(found: list[float]) -> str:
    """For a table: the mean, and in brackets that of the absolute value."""
    return f"{sum(found) / len(found):+.0f} ({sum(map(abs, found)) / len(found):.0f})"
