"""What HyGen's figures draw: a latency over its limit, and tokens per second, against the tolerance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from figures.hygen.cells import ALONE, CONSERVE, HYGEN, LATENCIES, NAIVE, OFFLINE, PLUS, PURE, STAR, TOTAL, slowdown, values
from figures.paper import series_look
from figures.reproduction import Measured, over_seeds
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

POLICIES = (HYGEN, STAR, PLUS, NAIVE, CONSERVE, ALONE, PURE)


def look(policy: str, theme: Theme) -> dict[str, Any]:
    """Of a policy, the same in every figure."""
    return series_look(POLICIES.index(policy), theme)


def draw_points(axes: Any, at: Sequence[float], found: Sequence[Measured], style: dict[str, Any], label: str) -> None:
    """A line through means, with 95 % intervals as bars."""
    known = [(x, m.value, m.lo or m.value, m.hi or m.value) for x, m in zip(at, found, strict=True) if m.value is not None]
    if not known:
        return
    x, y, lo, hi = zip(*known, strict=True)
    below, above = [a - b for a, b in zip(y, lo, strict=True)], [b - a for a, b in zip(y, hi, strict=True)]
    axes.errorbar(x, y, yerr=[below, above], ecolor=style["color"], elinewidth=0.7, label=label, **style)


def draw_achieved(axes: Any, frame: DataFrame, metric: str, setting: str, policies: Sequence[str], theme: Theme) -> None:
    """A latency relative to that without offline work, against the tolerance; the shaded part breaks the SLO."""
    tolerances = _tolerances(frame, metric, setting)
    top = 100 * max(tolerances) * 1.06
    axes.fill_between([0, top], [0, top], [1e4, 1e4], color=theme.grid, alpha=0.5, linewidth=0, zorder=0)
    axes.plot([0, top], [0, top], color=theme.muted, linewidth=0.9, zorder=1)
    highest = top
    for policy in policies:
        found = [
            percent(slowdown(frame, policy, metric, setting, objective=metric, tolerance=tolerance)) for tolerance in tolerances
        ]
        draw_points(axes, [100 * tolerance for tolerance in tolerances], found, look(policy, theme), policy)
        if policy not in (PLUS, CONSERVE):
            highest = max([highest, *(m.hi for m in found if m.hi is not None)])
    over = [m.value for m in found if m.value is not None]
    axes.set_ylim(-3, min(max([highest, *over]) * 1.1, 3.2 * top))
    axes.set_xlim(0, top)
    axes.set_title(LATENCIES[metric])


def draw_throughput(
    axes: Any, frame: DataFrame, metric: str, setting: str, policies: Sequence[str], theme: Theme, what: str = OFFLINE
) -> None:
    """Tokens per second, prompts included, in thousands."""
    tolerances = _tolerances(frame, metric, setting)
    for policy in policies:
        found = [
            thousands(over_seeds(values(frame, policy, what, setting=setting, objective=metric, tolerance=t))) for t in tolerances
        ]
        draw_points(axes, [100 * t for t in tolerances], found, look(policy, theme), policy)
    for policy in (PURE, ALONE):
        level = values(frame, policy, what if policy == PURE else TOTAL, setting=setting)
        if len(level) and (policy == PURE or what == TOTAL):
            mean = float(level.mean()) / 1e3
            axes.axhline(mean, color=theme.muted, linewidth=0.8, linestyle=(0, (4, 2)))
            axes.annotate(
                policy, (0.98, mean), xycoords=("axes fraction", "data"), ha="right", va="bottom", size=7, color=theme.muted
            )
    axes.set_ylim(0, None)
    axes.set_xlim(0, 100 * max(tolerances) * 1.06)


def _tolerances(frame: DataFrame, metric: str, setting: str) -> list[float]:
    rows = frame[(frame["setting"] == setting) & (frame["objective"] == metric) & (frame["policy"] == HYGEN)]
    return sorted(rows["tolerance"].unique())


def percent(ratio: Measured) -> Measured:
    """How much more than 1."""
    return _mapped(ratio, lambda x: 100 * (x - 1))


def thousands(found: Measured) -> Measured:
    return _mapped(found, lambda x: x / 1e3)


def _mapped(found: Measured, to: Callable[[float], float]) -> Measured:
    value, lo, hi = (None if x is None else to(x) for x in (found.value, found.lo, found.hi))
    return Measured(value, lo, hi, found.seeds, found.note)
