"""What a search asks of a run: metrics on the right side of thresholds, and how sure one can be of it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sim.sweep import EVERYONE
from traces.errors import InputError
from traces.intervals import Estimate
from traces.metrics import METRICS
from traces.pooling import pooled, replicated
from traces.scenario.document import nearest
from traces.units import parse_quantity

SURE = 3.0 / 1.959964
"""Half-widths of a 95 % interval that a verdict takes: three standard errors. A search looks at a crossing a dozen times: at 1.96
standard errors, 9 searches of 100 miss the truth where seeds bring luck of their own (the setting of tests/sim/test_search.py)."""


class Verdict(StrEnum):
    """Of the goals at one value."""

    HELD = "held"
    MISSED = "missed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Goal:
    """``metric`` of ``group`` (all requests, or a tier) is at least, or at most, ``threshold``."""

    metric: str
    threshold: float
    at_least: bool = True
    group: str = EVERYONE

    def verdict(self, estimate: Estimate) -> Verdict:
        """Open unless the estimate is sure of its side."""
        better, worse = (estimate.lo, estimate.hi) if self.at_least else (estimate.hi, estimate.lo)
        if estimate.value is None:
            return Verdict.OPEN
        if better is not None and self.slack(estimate.value + (better - estimate.value) * SURE) >= 0:
            return Verdict.HELD
        if worse is not None and self.slack(estimate.value + (worse - estimate.value) * SURE) < 0:
            return Verdict.MISSED
        return Verdict.OPEN

    def slack(self, value: float) -> float:
        """How much better than asked."""
        return value - self.threshold if self.at_least else self.threshold - value

    def __str__(self) -> str:
        group = "" if self.group == EVERYONE else f"@{self.group}"
        return f"{self.metric}{group} {'≥' if self.at_least else '≤'} {self.threshold:g}"


_GOAL = re.compile(r"\s*([\w.]+?)\s*(?:@\s*(.+?))?\s*(>=|<=|≥|≤|>|<)\s*(.+?)\s*")


def parse_goal(text: str) -> Goal:
    """A goal from `attainment>=90%`, `ttft_s.p99<=500ms` or, of one tier, `attainment@premium>=95%`.

    Raises:
        InputError: it is not of that form, or names no metric.
    """
    match = _GOAL.fullmatch(text)
    if match is None:
        raise InputError(f"--goal {text}: is no goal; write it like 'attainment>=90%' or 'ttft_s.p99<=500ms'")
    metric, group, sign, written = match.groups()
    known = [key for definition in METRICS for key in definition.keys]
    if metric not in known:
        raise InputError(f"--goal {text}: there is no metric `{metric}`; {nearest(metric, known)}")
    threshold = parse_quantity(written)
    try:
        threshold = float(written) if threshold is None else threshold
    except ValueError:
        raise InputError(f"--goal {text}: `{written}` is no number; write it like 90%, 500ms or 0.9") from None
    return Goal(metric, threshold, sign in (">=", ">", "≥"), group or EVERYONE)


def judge(goal: Goal, estimates: Sequence[Estimate]) -> Verdict:
    """Of few runs, neither what they know of themselves nor their spread is trusted alone."""
    found = {goal.verdict(pooled(goal.metric, estimates)), goal.verdict(replicated(estimates))}
    return found.pop() if len(found) == 1 else Verdict.OPEN


def height(goal: Goal, estimate: Estimate) -> float:
    """Slack on a scale on which responses to load are about straight: log-odds of shares, logarithms of what is positive."""
    value, threshold = estimate.value, goal.threshold
    assert value is not None
    sign = 1 if goal.at_least else -1
    if goal.metric.startswith("attainment") and 0 < threshold < 1:
        edge = 0.5 / max(estimate.n, 1)
        return sign * (_log_odds(min(max(value, edge), 1 - edge)) - _log_odds(threshold)) or 0.0
    if value > 0 and threshold > 0:
        return sign * (math.log(value) - math.log(threshold))
    return sign * (value - threshold)


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))
