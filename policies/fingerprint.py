"""A fingerprint: the few facts about (model, GPU, parallelism, precision, engine version) from which step times follow.

The mean time of an engine step is the sum of

    overhead                                                what every step pays: host work, kernel gaps, attention's floor
    + tokens(prefill + decode + verify tokens)              GEMMs, all-reduces and small kernels of all layers
    + sampled(rows whose logits are computed)               language-model head and sampling
    + chunk × chunks + token × prefill tokens + attention × prefill_attention    prefill attention (``policies.latency.StepShape``)
    + decode(n) + decode_context × KV tokens read           decode attention of n requests: per request, and by memory bandwidth

which, for a fixed number of decoding requests, is affine in the KV tokens that they read: a run of decode steps of a steady
batch has a closed form, on which the simulator's leaps and the policies' look-ahead rest. Every term is non-decreasing, so the
step time is monotone in every component of the step's shape.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Provenance = Literal["measured", "assembled", "analytic"]


@dataclass(frozen=True)
class Curve:
    """A piecewise linear, non-decreasing function through ``(x, y)``: 0 at x = 0 (no work, no time), flat up to the first
    breakpoint, and beyond the last one a continuation of the last segment.

    Raises:
        ValueError: x not strictly increasing from at least 1, or y negative, decreasing or not finite.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        x, y = np.array(self.x, float), np.array(self.y, float)
        if len(x) != len(y) or len(x) < 2 or x[0] < 1 or not (np.diff(x) > 0).all():
            raise ValueError(f"a curve needs at least two breakpoints with x increasing from 1 or more; got x = {self.x}")
        if not np.isfinite(y).all() or y[0] < 0 or not (np.diff(y) >= 0).all():
            raise ValueError(f"a curve's y must be finite, not negative and not decreasing; got y = {self.y}")

    @cached_property
    def _slopes(self) -> list[float]:
        return [(y1 - y0) / (x1 - x0) for x0, x1, y0, y1 in zip(self.x, self.x[1:], self.y, self.y[1:], strict=False)]

    @cached_property
    def _arrays(self) -> tuple[Floats, Floats]:
        return np.array(self.x, float), np.array(self.y, float)

    def at(self, x: float) -> float:
        """The value at one point."""
        if x <= self.x[0]:
            return self.y[0] if x > 0 else 0.0
        i = min(bisect_right(self.x, x), len(self._slopes)) - 1
        return self._slopes[i] * (x - self.x[i]) + self.y[i]

    def many(self, x: Floats) -> Floats:
        """The values at an array of points."""
        xs, ys = self._arrays
        y = np.interp(x, xs, ys)
        if len(x) and x.max() > xs[-1]:
            y += self._slopes[-1] * np.maximum(x - xs[-1], 0.0)
        return np.where(x > 0, y, 0.0)

    def __add__(self, other: Curve) -> Curve:
        x = np.union1d(self.x, other.x)
        return Curve(tuple(x.tolist()), tuple((self.many(x) + other.many(x)).tolist()))

    def to_dict(self) -> dict[str, list[float]]:
        return {"x": list(self.x), "y": list(self.y)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Curve:
        return cls(tuple(map(float, data["x"])), tuple(map(float, data["y"])))

    @classmethod
    def proportional(cls, slope: float) -> Curve:
        """``slope`` × x."""
        return cls((1.0, 2.0), (slope, 2 * slope))


@dataclass(frozen=True)
class Terms:
    """The fitted terms of a step's mean time, in seconds; the module's text says how they add up.

    ``gemm``, ``all_reduce``, ``small_kernels``: over all layers, by tokens in the step. ``sampled``: by rows of logits.
    ``prefill_chunk``, ``prefill_token``, ``prefill_attention``: per chunk, per token and per token² of prefill attention.
    ``decode``: by decoding requests. ``decode_context``: per KV token read.
    """

    overhead: float
    gemm: Curve
    all_reduce: Curve
    small_kernels: Curve
    sampled: Curve
    prefill_chunk: float
    prefill_token: float
    prefill_attention: float
    decode: Curve
    decode_context: float

    def __post_init__(self) -> None:
        for name in ("overhead", "prefill_chunk", "prefill_token", "prefill_attention", "decode_context"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"term {name} must be finite and not negative; got {getattr(self, name)}")

    @cached_property
    def tokens(self) -> Curve:
        """GEMMs, all-reduces and small kernels together, by tokens in the step."""
        return self.gemm + self.all_reduce + self.small_kernels

    def to_dict(self) -> dict[str, Any]:
        return {f.name: v.to_dict() if isinstance(v := getattr(self, f.name), Curve) else v for f in fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Terms:
        _check_keys(cls, data, "terms")
        terms: dict[str, Any] = {name: Curve.from_dict(v) if isinstance(v, Mapping) else float(v) for name, v in data.items()}
        return cls(**terms)


@dataclass(frozen=True)
class Fingerprint:
    """What is known of one deployment's step time.

    ``precision``: of the weights ("bf16"). ``provenance``: measured on a running engine, assembled from operator tables, or
    analytic (data sheets). ``source``: the data and every assumption in words. ``calibrated``: per feature the range that the
    data cover. ``residual``: relative standard deviation of measured step times around the mean that the terms give.
    """

    model: str
    gpu: str
    tensor_parallel: int
    precision: str
    engine: str
    provenance: Provenance
    source: str
    terms: Terms
    calibrated: Mapping[str, tuple[float, float]]
    residual: float

    @property
    def name(self) -> str:
        return f"{self.model}/{self.gpu}/tp{self.tensor_parallel}/{self.precision}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able data; ``from_dict`` gives an equal fingerprint back."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**plain, "terms": self.terms.to_dict(), "calibrated": {k: list(v) for k, v in self.calibrated.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fingerprint:
        """The fingerprint that ``to_dict`` wrote.

        Raises:
            ValueError: a key is missing or unknown, or a term is negative, not finite or not monotone.
        """
        _check_keys(cls, data, "fingerprint")
        if data["provenance"] not in get_args(Provenance):
            raise ValueError(f"provenance is one of {', '.join(get_args(Provenance))}; got {data['provenance']}")
        calibrated = {k: (float(low), float(high)) for k, (low, high) in data["calibrated"].items()}
        return cls(**{**data, "terms": Terms.from_dict(data["terms"]), "calibrated": calibrated})

    @classmethod
    def linear(
        cls,
        *,
        overhead_s: float = 0.0,
        per_token_s: float = 0.0,
        per_prefill_attention_s: float = 0.0,
        per_decode_context_s: float = 0.0,
    ) -> Fingerprint:
        """An invented deployment whose step time is linear with the given constants, for examples worked out by hand."""
        nothing = Curve.proportional(0.0)
        terms = Terms(
            overhead=overhead_s,
            gemm=Curve.proportional(per_token_s),
            all_reduce=nothing,
            small_kernels=nothing,
            sampled=nothing,
            prefill_chunk=0.0,
            prefill_token=0.0,
            prefill_attention=per_prefill_attention_s,
            decode=nothing,
            decode_context=per_decode_context_s,
        )
        return cls("linear", "linear", 1, "bf16", "none", "analytic", "constants given by hand", terms, {}, 0.0)


def _check_keys(kind: type[Terms] | type[Fingerprint], data: Mapping[str, Any], where: str) -> None:
    expected = {f.name for f in fields(kind)}
    if missing := expected - data.keys():
        raise ValueError(f"{where}: missing {', '.join(sorted(missing))}")
    if unknown := data.keys() - expected:
        raise ValueError(f"{where}: unknown {', '.join(sorted(unknown))}")
