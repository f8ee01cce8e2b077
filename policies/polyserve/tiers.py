"""Tiers: requests binned by their TPOT objective. The TPOT budget is the tier's identity."""

from __future__ import annotations

from math import inf

from policies.types import SLO

BEST_EFFORT = "best-effort"
"""The tier of requests without a TPOT objective."""


def tier_of(slo: SLO) -> str:
    """The tier that an objective belongs to, such as ``20ms``."""
    return BEST_EFFORT if slo.tpot_s is None else f"{slo.tpot_s * 1e3:g}ms"


def budget_s(tier: str) -> float:
    """The TPOT budget of a tier in seconds; ``inf`` for best effort.

    Raises:
        ValueError: not the name of such a tier.
    """
    if tier == BEST_EFFORT:
        return inf
    if not tier.endswith("ms"):
        raise ValueError(f"{tier!r} is not a tier of PolyServe; name engines' tiers by their TPOT budget, such as 20ms")
    return float(tier[:-2]) / 1e3


def tier_budget_s(tier: str | None) -> float | None:
    """As ``budget_s``; ``None`` where an engine has no tier, or one of another naming."""
    try:
        return None if tier is None else budget_s(tier)
    except ValueError:
        return None
