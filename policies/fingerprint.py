"""A fingerprint: the few facts about (model, GPU, parallelism, precision, engine version) from which step times follow.

The mean time of an engine step is the sum of

    overhead                                                what every step pays: host work, kernel gaps, attention's floor
    + tokens(m)                                             GEMMs, experts, all-reduces, small kernels and hops of all layers
    + sampled(rows whose logits are computed)               language-model head and sampling
    + chunk × chunks + token × prefill tokens + attention × prefill_attention    prefill attention (``policies.latency.StepShape``)
    + decode(n, KV tokens read)                             decode attention: for each n a line in the KV tokens

where m = prefill + decode + verified draft tokens. For a fixed number of decoding requests this is affine in the KV tokens that
they read: a run of decode steps of a steady batch has a closed form, on which the simulator's leaps and the policies' look-ahead
rest. With ``stages`` pipeline stages this is the time of one batch through all of them, and decoding requests and their draft
tokens are spread over as many batches in flight: m, sampled rows, n and KV tokens of decodes count 1 / stages each, while a prefill
chunk passes all stages in turn.

Every curve is non-decreasing, so the step time is monotone in every component of the step's shape; in the number of decoding
requests at given KV tokens up to ``Lines.crossing`` of the decode lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, get_args

from policies.curve import Curve, Lines

SCHEMA = 2
Provenance = Literal["measured", "assembled", "analytic", "end-to-end"]
NOTHING = Curve.proportional(0.0)
NOISE_LEVELS = (0.0, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 1.0)
"""Probabilities at which ``Fingerprint.noise`` gives the distribution of step times."""


@dataclass(frozen=True)
class Terms:
    """The fitted terms of a step's mean time, in seconds; the module's text says how they add up.

    ``gemm``, ``experts`` (routed experts of a mixture), ``all_reduce``, ``small_kernels``, ``hops`` (between pipeline stages): over
    all layers, by tokens in the step. ``sampled``: by rows of logits. ``prefill_chunk``, ``prefill_token``, ``prefill_attention``:
    per chunk, per token and per token² of prefill attention. ``decode``: by decoding requests and KV tokens that they read.
    """

    overhead: float
    gemm: Curve
    sampled: Curve
    prefill_chunk: float
    prefill_token: float
    prefill_attention: float
    decode: Lines
    all_reduce: Curve = NOTHING
    small_kernels: Curve = NOTHING
    experts: Curve = NOTHING
    hops: Curve = NOTHING
    stages: int = 1

    def __post_init__(self) -> None:
        for name in ("overhead", "prefill_chunk", "prefill_token", "prefill_attention"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"terms.{name} is {getattr(self, name)}; give a finite number of seconds, not negative")
        if self.stages < 1:
            raise ValueError(f"terms.stages is {self.stages}; it counts pipeline stages, 1 or more")

    @cached_property
    def tokens(self) -> Curve:
        """All that follows from the tokens in the step, together."""
        total = self.gemm
        for curve in (self.experts, self.all_reduce, self.small_kernels, self.hops):
            total = total if curve == NOTHING else total + curve
        return total

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able data; what is at its default is left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {name: value.to_dict() if isinstance(value, Curve | Lines) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Terms:
        """Raises:
        ValueError: a key is missing or unknown, or a curve is not one; the term and its row are named.
        """
        check_keys(cls, data, "terms")
        terms: dict[str, Any] = {}
        for name, value in data.items():
            try:
                if name == "decode":
                    terms[name] = Lines.from_dict(value)
                elif isinstance(value, Mapping):
                    terms[name] = Curve.from_dict(value)
                else:
                    terms[name] = int(value) if name == "stages" else float(value)
            except (ValueError, TypeError) as error:
                raise ValueError(f"terms.{name}: {error}") from None
        return cls(**terms)


@dataclass(frozen=True)
class Fingerprint:
    """What is known of one deployment's step time.

    ``precision``: of the weights ("bf16"). ``provenance``: measured on a running engine, assembled from operator tables, analytic
    (data sheets), or fitted to end-to-end tables. ``source``: the data and every assumption in words. ``calibrated``: per feature
    the range that the data cover. ``residual``: relative standard deviation of step times around the mean that the terms give.
    ``kv_precision``: of keys and values in memory. ``expert_parallel``: experts are spread over the GPUs instead of sliced.
    ``errors``: per term the median and 90th percentile of |relative error| on its rows, and how many rows there were.
    ``hashes``: of what the terms were fitted to, by file. ``noise``: a step's time over its mean, at ``NOISE_LEVELS``, linear in
    between; empty = log-normal of standard deviation ``residual``.
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
    pipeline_parallel: int = 1
    expert_parallel: bool = False
    kv_precision: str = "bf16"
    errors: Mapping[str, tuple[float, float, int]] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    noise: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.provenance not in get_args(Provenance):
            raise ValueError(f"provenance is {self.provenance!r}; it is one of {', '.join(get_args(Provenance))}")
        if not 0 <= self.residual < 10:
            raise ValueError(f"residual is {self.residual}; it is a share of the step time, such as 0.03")
        if self.noise and (len(self.noise) != len(NOISE_LEVELS) or not all(0 < a <= b for a, b in pairwise(self.noise))):
            raise ValueError(f"noise is {list(self.noise)}; give {len(NOISE_LEVELS)} rising factors around 1")
        for feature, (low, high) in self.calibrated.items():
            if not 0 <= low <= high < float("inf"):
                raise ValueError(f"calibrated.{feature} is [{low}, {high}]; give the least and the most that the data cover")

    @property
    def name(self) -> str:
        """Like ``llama-3.1-8b/h200/tp1/bf16``; pp2, ep and +kv-fp8 are added where they apply."""
        return deployment_name(
            self.model,
            self.gpu,
            self.tensor_parallel,
            self.precision,
            pipeline_parallel=self.pipeline_parallel,
            expert_parallel=self.expert_parallel,
            kv_precision=self.kv_precision,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able data; ``from_dict`` gives an equal fingerprint back."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            "schema": SCHEMA,
            **plain,
            "terms": self.terms.to_dict(),
            "calibrated": {k: list(v) for k, v in self.calibrated.items()},
            "errors": {k: list(v) for k, v in self.errors.items()},
            "hashes": dict(self.hashes),
            "noise": list(self.noise),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fingerprint:
        """The fingerprint that ``to_dict`` wrote.

        Raises:
            ValueError: another schema, a key missing or unknown, or a term negative, not finite or not monotone.
        """
        if data.get("schema") != SCHEMA:
            raise ValueError(f"schema is {data.get('schema', 'missing')}, this version reads {SCHEMA}")
        data = {key: value for key, value in data.items() if key != "schema"}
        check_keys(cls, data, "fingerprint")
        calibrated = {k: (float(low), float(high)) for k, (low, high) in data["calibrated"].items()}
        errors = {k: (float(median), float(p90), int(rows)) for k, (median, p90, rows) in data.get("errors", {}).items()}
        terms, noise = Terms.from_dict(data["terms"]), tuple(map(float, data.get("noise", ())))
        return cls(**{**data, "terms": terms, "calibrated": calibrated, "errors": errors, "noise": noise})

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
        terms = Terms(
            overhead=overhead_s,
            gemm=Curve.proportional(per_token_s),
            sampled=NOTHING,
            prefill_chunk=0.0,
            prefill_token=0.0,
            prefill_attention=per_prefill_attention_s,
            decode=Lines.proportional(per_decode_context_s),
        )
        return cls("linear", "linear", 1, "bf16", "none", "analytic", "constants given by hand", terms, {}, 0.0)


def deployment_name(
    model: str,
    gpu: str,
    tensor_parallel: int,
    precision: str,
    *,
    pipeline_parallel: int = 1,
    expert_parallel: bool = False,
    kv_precision: str = "bf16",
) -> str:
    """Like ``llama-3.1-8b/h200/tp1/bf16`` or ``qwen3-235b-a22b/h200/tp8ep/fp8-block+kv-fp8``."""
    stages = f"pp{pipeline_parallel}" if pipeline_parallel > 1 else ""
    kv = "" if kv_precision == "bf16" else f"+kv-{kv_precision}"
    return f"{model}/{gpu}/tp{tensor_parallel}{stages}{'ep' if expert_parallel else ''}/{precision}{kv}"


def check_keys(kind: type[Any], data: Mapping[str, Any], where: str) -> None:
    """That a mapping has the keys of a dataclass.

    Raises:
        ValueError: one is missing or unknown.
    """
    required = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    if missing := required - data.keys():
        raise ValueError(f"{where}: missing {', '.join(sorted(missing))}")
    if unknown := data.keys() - {f.name for f in fields(kind)}:
        raise ValueError(f"{where}: unknown {', '.join(sorted(unknown))}")
