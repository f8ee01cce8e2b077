"""Word-sized graphics for table cells: a curve over time, and a figure with its interval against a target."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from figures.svg import ACROSS, DOWN, Axis, steps_path


def sparkline(shares: Any, title: str) -> Markup:
    """A stepped area of values between 0 and 1, equally far apart; NaN is drawn as nothing."""
    values = np.clip(np.nan_to_num(np.asarray(shares, float)), 0, 1)
    n = len(values)
    outline = steps_path(np.arange(n + 1) / n, values)
    return Markup(
        f'<svg class="spark" role="img" viewBox="0 0 {ACROSS} {DOWN}" preserveAspectRatio="none">'
        f'<title>{escape(title)}</title><path d="{outline}V{DOWN}H0Z"/></svg>'
    )


def interval_dot(axis: Axis, value: float | None, lo: float | None, hi: float | None, target: float, tone: str) -> Markup:
    """A dot at ``value``, a bar over its interval and a tick at ``target``; the row's text says the same.

    An open end of the interval reaches the end of the axis.
    """
    ends = axis.lo if lo is None else lo, axis.hi if hi is None else hi
    at = [f"{place:.2%}" for place in axis.at([*ends, value or 0.0, target])]
    marks = f'<line class="target" x1="{at[3]}" x2="{at[3]}" y1="0" y2="22"/>'
    if value is not None and math.isfinite(value):
        marks += f'<line class="whisker {tone}" x1="{at[0]}" x2="{at[1]}" y1="11" y2="11"/>'
        marks += f'<circle class="dot {tone}" cx="{at[2]}" cy="11" r="4.5"/>'
    return Markup(f'<svg class="dots" aria-hidden="true" width="100%" height="22">{marks}</svg>')


def axis_ticks(axis: Axis) -> Markup:
    """The labels of ``axis``, to stand under a column of :func:`interval_dot`."""
    labels = "".join(
        f'<text class="tick x" x="{place:.2%}" y="12">{escape(label)}</text>'
        for place, (_, label) in zip(axis.at([t for t, _ in axis.ticks]), axis.ticks, strict=True)
    )
    return Markup(f'<svg class="dots" aria-hidden="true" width="100%" height="16">{labels}</svg>')
