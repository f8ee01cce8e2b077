"""The simulator's truth about step time: a fingerprint's mean, tabulated so that a look-up costs less than a microsecond."""

from __future__ import annotations

import numpy as np

from policies.fingerprint import Fingerprint


class StepTime:
    """Mean time of one batch on its way through an engine, within the limits ``max_batched_tokens`` and ``max_seqs``.

    ``decode_fixed`` and ``decode_per_context``, indexed by decoding requests: a decode-only step of n requests takes
    ``decode_fixed[n] + decode_per_context[n] * decode_context`` seconds, the very float that ``seconds`` returns for it.
    The numbers are those of ``policies.latency.FingerprintLatency`` on the same fingerprint; the objects are apart so that what
    policies believe can be given an error while the truth stays. Where there are pipeline stages, that one is told of the decodes
    of all batches in flight, and takes them to be spread evenly; this one of a batch's own.
    """

    __slots__ = (
        "_decode_attention",
        "_prefill_attention",
        "_prefill_chunk",
        "_prefill_token",
        "_sampled",
        "_tokens",
        "decode_fixed",
        "decode_per_context",
        "fingerprint",
    )

    def __init__(self, fingerprint: Fingerprint, *, max_batched_tokens: int, max_seqs: int) -> None:
        terms = fingerprint.terms
        self.fingerprint = fingerprint
        tokens = np.arange(max(max_batched_tokens, max_seqs) + 1, dtype=np.float64)
        seqs = tokens[: max_seqs + 1]
        self._prefill_chunk = terms.prefill_chunk
        self._prefill_token = terms.prefill_token
        self._prefill_attention = terms.prefill_attention
        self._tokens: list[float] = np.where(tokens > 0, terms.overhead + terms.tokens.many(tokens), 0.0).tolist()
        self._sampled: list[float] = terms.sampled.many(tokens).tolist()
        fixed, per_context = terms.decode.coefficients(seqs)
        self._decode_attention: list[float] = fixed.tolist()
        self.decode_per_context: list[float] = per_context.tolist()
        self.decode_fixed: list[float] = [
            tokens + sampled + attention
            for tokens, sampled, attention in zip(self._tokens, self._sampled, self._decode_attention, strict=False)
        ]

    @classmethod
    def linear(
        cls,
        *,
        max_batched_tokens: int,
        max_seqs: int,
        overhead_s: float = 0.0,
        per_token_s: float = 0.0,
        per_prefill_attention_s: float = 0.0,
        per_decode_context_s: float = 0.0,
    ) -> StepTime:
        """Linear step time with the given constants, for examples worked out by hand."""
        fingerprint = Fingerprint.linear(
            overhead_s=overhead_s,
            per_token_s=per_token_s,
            per_prefill_attention_s=per_prefill_attention_s,
            per_decode_context_s=per_decode_context_s,
        )
        return cls(fingerprint, max_batched_tokens=max_batched_tokens, max_seqs=max_seqs)

    def seconds(
        self,
        prefill_tokens: int,
        prefill_attention: float,
        prefill_seqs: int,
        decode_seqs: int,
        decode_context: int,
        verify_tokens: int = 0,
    ) -> float:
        """Seconds for a step; arguments as in ``policies.latency.StepShape``. 0 for a step without tokens.

        Raises:
            IndexError: more tokens or requests than the engine's limits.
        """
        if not prefill_tokens and not verify_tokens:
            return self.decode_fixed[decode_seqs] + self.decode_per_context[decode_seqs] * decode_context
        decoded = decode_seqs + verify_tokens
        return (
            self._tokens[prefill_tokens + decoded]
            + self._sampled[prefill_seqs + decoded]
            + self._decode_attention[decode_seqs]
            + self.decode_per_context[decode_seqs] * decode_context
            + self._prefill_chunk * prefill_seqs
            + self._prefill_token * prefill_tokens
            + self._prefill_attention * prefill_attention
        )

    def sampled(self, rows: int) -> float:
        """Seconds of a step that go to the language-model head and to sampling, for so many rows of logits."""
        return self._sampled[rows]
