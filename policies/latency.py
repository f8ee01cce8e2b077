"""What a step costs: the shape of an engine step, and the interface of models that turn it into seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from policies.fingerprint import Fingerprint

Floats = NDArray[np.float64]
_Value = TypeVar("_Value")
_REMEMBERED = 1 << 17
"""Values of a curve that are kept at most."""


class StepShape(NamedTuple):
    """The work in one engine step.

    ``prefill_tokens``: prompt tokens computed. ``prefill_attention``: sum over prefill chunks of chunk × (context + chunk / 2),
    in token², context being the tokens already computed before the chunk. ``prefill_seqs``: number of such chunks.
    ``decode_seqs``: requests that decode one token. ``decode_context``: KV tokens that they read, summed. ``verify_tokens``:
    draft tokens verified on top of one per decoding request.
    """

    prefill_tokens: int = 0
    prefill_attention: float = 0.0
    prefill_seqs: int = 0
    decode_seqs: int = 0
    decode_context: int = 0
    verify_tokens: int = 0


class LatencyModel(Protocol):
    """Step time in seconds. Monotone in every component of the shape."""

    def seconds(self, step: StepShape) -> float: ...

    def seconds_many(
        self,
        prefill_tokens: Floats,
        prefill_attention: Floats,
        prefill_seqs: Floats,
        decode_seqs: Floats,
        decode_context: Floats,
        verify_tokens: Floats,
    ) -> Floats:
        """The same for arrays of equal length."""


def outside_calibration(fingerprint: Fingerprint, step: StepShape) -> list[str]:
    """One sentence for each feature of a step, in each of its batches, beyond the range that the fingerprint's data cover."""
    stages = fingerprint.terms.stages
    reached = {
        "tokens": step.prefill_tokens + (step.decode_seqs + step.verify_tokens) / stages,
        "prefill_chunk": step.prefill_tokens / max(step.prefill_seqs, 1),
        "decode_seqs": step.decode_seqs / stages,
        "decode_context_per_seq": step.decode_context / max(step.decode_seqs, 1),
    }
    return [
        f"{feature} is {reached[feature]:,.0f}, beyond the {high:,.0f} that fingerprint {fingerprint.name} is calibrated for"
        for feature, (_, high) in fingerprint.calibrated.items()
        if reached.get(feature, 0) > high
    ]


def decoding(latency: LatencyModel, seqs: int, context: int) -> float:
    """``latency.seconds`` of a step in which ``seqs`` requests, one at least, decode and read ``context`` KV tokens."""
    if isinstance(latency, FingerprintLatency):
        return latency.decoding(seqs, context)
    return latency.seconds(StepShape(decode_seqs=seqs, decode_context=context))


Prompts = Callable[[int, float, int], float]
"""Seconds of a step with so many prompt tokens (one at least), their attention in token², and the number of their chunks."""


def beside(latency: LatencyModel, decode_seqs: int, decode_context: int) -> Prompts:
    """``latency.seconds`` of prompts beside always the same decodes, to the last digit."""
    if isinstance(latency, FingerprintLatency):
        return latency.beside(decode_seqs, decode_context)
    return lambda tokens, attention, seqs: latency.seconds(StepShape(tokens, attention, seqs, decode_seqs, decode_context))


class _Known(dict[float, _Value]):
    """What a curve was found to be where it was asked for: to look that up costs a tenth of working it out again."""

    def __init__(self, work_out: Callable[[float], _Value]) -> None:
        super().__init__()
        self._work_out = work_out

    def __missing__(self, x: float) -> _Value:
        value = self._work_out(x)
        if len(self) < _REMEMBERED:
            self[x] = value
        return value


class FingerprintLatency:
    """The mean step time that a fingerprint gives; affine in ``decode_context`` for a fixed number of decoding requests.

    Verified draft tokens count as tokens and as sampled rows; their queries share one pass over their request's KV.
    A step without tokens takes no time.
    """

    __slots__ = ("_lines", "_sampled", "_tokens", "fingerprint")

    def __init__(self, fingerprint: Fingerprint) -> None:
        self.fingerprint = fingerprint
        terms = fingerprint.terms
        self._tokens, self._sampled = _Known(terms.tokens.at), _Known(terms.sampled.at)
        self._lines = _Known(terms.decode.line)

    def seconds(self, step: StepShape) -> float:
        prefill_tokens, prefill_attention, prefill_seqs, decode_seqs, decode_context, verify_tokens = step
        terms = self.fingerprint.terms
        spread: float = decode_seqs + verify_tokens
        if terms.stages != 1:
            spread /= terms.stages
        tokens = prefill_tokens + spread
        if not tokens:
            return 0.0
        seconds = terms.overhead + self._tokens[tokens] + self._sampled[prefill_seqs + spread]
        if prefill_tokens:
            seconds += (
                terms.prefill_chunk * prefill_seqs
                + terms.prefill_token * prefill_tokens
                + terms.prefill_attention * prefill_attention
            )
        if decode_seqs:
            fixed, per_context = self._lines[decode_seqs / terms.stages]
            seconds += fixed + per_context * (decode_context / terms.stages)
        return seconds

    def decoding(self, seqs: int, context: float) -> float:
        """As ``seconds`` of a step that only decodes: ``seqs`` requests, one at least, that read ``context`` KV tokens."""
        terms = self.fingerprint.terms
        spread = seqs / terms.stages
        fixed, per_context = self._lines[spread]
        return terms.overhead + self._tokens[spread] + self._sampled[spread] + (fixed + per_context * (context / terms.stages))

    def beside(self, decode_seqs: int, decode_context: int) -> Prompts:
        """As ``seconds``, in the same order of sums; what depends on the decodes alone is worked out once."""
        terms = self.fingerprint.terms
        spread: float = decode_seqs if terms.stages == 1 else decode_seqs / terms.stages
        overhead, tokens_of, sampled = terms.overhead, self._tokens, self._sampled
        per_chunk, per_token, per_attention = terms.prefill_chunk, terms.prefill_token, terms.prefill_attention
        decodes = terms.decode.at(decode_seqs / terms.stages, decode_context / terms.stages) if decode_seqs else 0.0

        def seconds(tokens: int, attention: float, seqs: int) -> float:
            prompts = per_chunk * seqs + per_token * tokens + per_attention * attention
            return overhead + tokens_of[tokens + spread] + sampled[seqs + spread] + prompts + decodes

        return seconds

    def seconds_many(
        self,
        prefill_tokens: Floats,
        prefill_attention: Floats,
        prefill_seqs: Floats,
        decode_seqs: Floats,
        decode_context: Floats,
        verify_tokens: Floats,
    ) -> Floats:
        terms = self.fingerprint.terms
        spread = (decode_seqs + verify_tokens) / terms.stages
        tokens = prefill_tokens + spread
        seconds = terms.overhead + terms.tokens.many(tokens) + terms.sampled.many(prefill_seqs + spread)
        seconds += terms.prefill_chunk * prefill_seqs + terms.prefill_token * prefill_tokens
        seconds += terms.prefill_attention * prefill_attention
        seconds += terms.decode.many(decode_seqs / terms.stages, decode_context / terms.stages)
        return np.where(tokens > 0, seconds, 0.0)
