"""End-to-end corrections: what serving with one engine version adds to the operator tables' times.

The tables hold the kernels of one engine version, timed one at a time with launches hidden. Another version has other kernels, an
engine spends host time per step and per request, and steps beyond the captured CUDA graphs wait for their launches. Eight numbers
say so for a *system*: a model in one precision, on one GPU type, under one engine version. They are fitted to rows of measured
TTFT and TPOT (``figures.validation.fitting``); 1 and 0 leave a fingerprint as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from policies.curve import Curve, Lines
from policies.fingerprint import NOTHING, Fingerprint, check_keys
from traces.assembly.curves import GRAPH_TOKENS, five_digits

STREAMED_TOKENS = 512
"""Tokens in a step from which on every expert has some: all their weights are read."""


@dataclass(frozen=True, slots=True)
class Correction:
    """``pace``: factor on all GPU times. ``step_s``, ``request_s``: host work per step, and per decoding request in it.

    ``prefill_pace``: further factor on what tokens beyond the captured CUDA graphs (512) add, and on prefill attention.
    ``eager_s``: launches that a step beyond those graphs waits for. ``context_pace``: further factor on the KV tokens that a large
    batch reads. ``expert_pace``: further factor on routed experts. ``idle_experts``: share of the experts without a token whose
    weights are read all the same.

    Raises:
        ValueError: a factor not above 0, a time or share below 0, or a number that is not finite.
    """

    pace: float = 1.0
    step_s: float = 0.0
    request_s: float = 0.0
    prefill_pace: float = 1.0
    eager_s: float = 0.0
    context_pace: float = 1.0
    expert_pace: float = 1.0
    idle_experts: float = 0.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value < float("inf") or (name.endswith("pace") and value == 0):
                raise ValueError(f"{name} is {value}; give a finite number, above 0 for a pace and not negative for others")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Correction:
        """Raises:
        ValueError: a key is unknown, or a value impossible.
        """
        check_keys(cls, data, "correction")
        return cls(**{name: float(value) for name, value in data.items()})

    def words(self) -> str:
        """The numbers that change something, for a fingerprint's source."""
        units = {"step_s": ("step +", 1e3, " ms"), "request_s": ("request +", 1e6, " µs"), "eager_s": ("eager step +", 1e3, " ms")}
        said = []
        for field in dataclasses.fields(self):
            if (value := getattr(self, field.name)) != field.default:
                name, factor, unit = units.get(field.name, (field.name.replace("_", " "), 1.0, ""))
                said.append(f"{name} {value * factor:.3g}{unit}")
        return ", ".join(said) or "nothing"


def corrected(fingerprint: Fingerprint, by: Correction) -> Fingerprint:
    """The same deployment, as the system serves it. Provenance and source are the caller's to say."""
    terms, pace = fingerprint.terms, by.pace
    prefill = pace * by.prefill_pace
    eager = _beyond_graphs(terms.gemm, pace, by.prefill_pace)
    if by.eager_s:
        after = np.array(eager.x) > GRAPH_TOKENS
        eager = Curve(eager.x, tuple((np.array(eager.y) + by.eager_s * after).tolist()))
    return dataclasses.replace(
        fingerprint,
        terms=dataclasses.replace(
            terms,
            overhead=pace * terms.overhead + by.step_s,
            gemm=eager,
            sampled=_beyond_graphs(terms.sampled, pace, 1.0),
            prefill_chunk=prefill * terms.prefill_chunk,
            prefill_token=prefill * terms.prefill_token,
            prefill_attention=prefill * terms.prefill_attention,
            decode=_decode(terms.decode, by),
            all_reduce=_beyond_graphs(terms.all_reduce, pace, by.prefill_pace),
            small_kernels=_beyond_graphs(terms.small_kernels, pace, by.prefill_pace),
            experts=_beyond_graphs(_experts(terms.experts, by), pace, by.prefill_pace),
            hops=_beyond_graphs(terms.hops, pace, 1.0),
        ),
    )


def rounded(by: Correction) -> Correction:
    """To five digits, for a file."""
    return Correction(**{name: five_digits(value) for name, value in dataclasses.asdict(by).items()})


def _beyond_graphs(curve: Curve, pace: float, beyond: float) -> Curve:
    """The curve × ``pace``, and × ``beyond`` what it rises by after the largest captured graph."""
    if curve == NOTHING:
        return curve
    x = np.union1d(curve.x, (GRAPH_TOKENS, GRAPH_TOKENS + 1)) if curve.x[-1] > GRAPH_TOKENS else np.array(curve.x)
    y, edge = curve.many(x), curve.at(GRAPH_TOKENS)
    return Curve(tuple(x.tolist()), tuple((pace * np.where(x > GRAPH_TOKENS, edge + beyond * (y - edge), y)).tolist()))


def _experts(curve: Curve, by: Correction) -> Curve:
    if curve == NOTHING:
        return curve
    y = np.array(curve.y)
    idle = np.maximum(curve.at(STREAMED_TOKENS) - y, 0.0)
    return Curve(curve.x, tuple((by.expert_pace * (y + by.idle_experts * idle)).tolist()))


def _decode(lines: Lines, by: Correction) -> Lines:
    """All slopes rise by as much as the least one does: lines that did not cross before do not cross now. The least one, which the
    memory's bandwidth bounds, does not fall."""
    requests = np.array(lines.requests)
    slope = np.array(lines.per_context)
    paced = by.pace * (slope + (by.context_pace - 1) * slope.min())
    return Lines(
        lines.requests,
        tuple((by.pace * np.array(lines.fixed) + by.request_s * requests).tolist()),
        tuple((paced + max(slope.min() - paced.min(), 0.0)).tolist()),
    )
