"""What a step costs: the shape of an engine step, and the interface of models that turn it into seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.fingerprint import Fingerprint

Floats = NDArray[np.float64]


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


Prompts = Callable[[int, float, int], float]
"""Seconds of a step with so many prompt tokens (one at least), their attention in token², and the number of their chunks."""


def beside(latency: LatencyModel, decode_seqs: int, decode_context: int) -> Prompts:
    """``latency.seconds`` of prompts beside always the same decodes, to the last digit."""
    if isinstance(latency, FingerprintLatency):
        return latency.beside(decode_seqs, decode_context)
    return lambda tokens, attention, seqs: latency.seconds(StepShape(tokens, attention, seqs, decode_seqs, decode_context))


class FingerprintLatency:
    """The mean step time that a fingerprint gives; affine in ``decode_context`` for a fixed number of decoding requests.

    Verified draft tokens count as tokens and as sampled rows; their queries share one pass over their request's KV.
    A step without tokens takes no time.
    """

    __slots__ = ("fingerprint",)

    def __init__(self, fingerprint: Fingerprint) -> None:
        self.fingerprint = fingerprint

    def seconds(self, step: StepShape) -> float:
        prefill_tokens, prefill_attention, prefill_seqs, decode_seqs, decode_context, verify_tokens = step
        terms = self.fingerprint.terms
        spread: float = decode_seqs + verify_tokens
        if terms.stages != 1:
            spread /= terms.stages
        tokens = prefill_tokens + spread
        if not tokens:
            return 0.0
        seconds = terms.overhead + terms.tokens.at(tokens) + terms.sampled.at(prefill_seqs + spread)
        if prefill_tokens:
            seconds += (
                terms.prefill_chunk * prefill_seqs
                + terms.prefill_token * prefill_tokens
                + terms.prefill_attention * prefill_attention
            )
        if decode_seqs:
            seconds += terms.decode.at(decode_seqs / terms.stages, decode_context / terms.stages)
        return seconds

    def beside(self, decode_seqs: int, decode_context: int) -> Prompts:
        """As ``seconds``, in the same order of sums; what depends on the decodes alone is worked out once."""
        terms = self.fingerprint.terms
        spread: float = decode_seqs if terms.stages == 1 else decode_seqs / terms.stages
        overhead, tokens_at, sampled_at = terms.overhead, terms.tokens.at, terms.sampled.at
        per_chunk, per_token, per_attention = terms.prefill_chunk, terms.prefill_token, terms.prefill_attention
        decodes = terms.decode.at(decode_seqs / terms.stages, decode_context / terms.stages) if decode_seqs else 0.0
        sampled: dict[int, float] = {}

        def seconds(tokens: int, attention: float, seqs: int) -> float:
            rows = sampled.get(seqs)
            if rows is None:
                rows = sampled[seqs] = sampled_at(seqs + spread)
            prompts = per_chunk * seqs + per_token * tokens + per_attention * attention
            return overhead + tokens_at(tokens + spread) + rows + prompts + decodes

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
