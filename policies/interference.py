"""Engines that share a GPU slow each other down.

While another engine is at work on its GPU, an engine's step takes ``factor`` times as long as alone; what several others add is
summed. Unless it was measured, the factor is 2, that of time slicing: without MPS or MIG, kernels of different processes do not
run side by side, and two that always have work get half the time each, k of them one k-th. It is an upper bound where steps leave
the GPU idle, and too low where the other's steps are much longer or push data out of caches.

Source: NVIDIA's documentation of time-slicing and of the Multi-Process Service; MaverIQ (arXiv 2501.13111) shares GPUs so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from policies.curve import Curve, Lines
from policies.fingerprint import NOTHING, Fingerprint

TIME_SLICED = 2.0


def slowdown(factors: Iterable[float]) -> float:
    """By which a step takes longer beside others at work. ``factors``: of each of them alone."""
    return 1.0 + sum(factor - 1.0 for factor in factors)


def slowed(fingerprint: Fingerprint, factor: float) -> Fingerprint:
    """The same deployment where every step takes ``factor`` times as long."""
    if factor == 1.0:
        return fingerprint
    terms = fingerprint.terms

    def curve(of: Curve) -> Curve:
        return of if of == NOTHING else Curve(of.x, tuple(factor * y for y in of.y))

    longer = replace(
        terms,
        overhead=factor * terms.overhead,
        gemm=curve(terms.gemm),
        sampled=curve(terms.sampled),
        prefill_chunk=factor * terms.prefill_chunk,
        prefill_token=factor * terms.prefill_token,
        prefill_attention=factor * terms.prefill_attention,
        decode=Lines(
            terms.decode.requests,
            tuple(factor * s for s in terms.decode.fixed),
            tuple(factor * s for s in terms.decode.per_context),
        ),
        all_reduce=curve(terms.all_reduce),
        small_kernels=curve(terms.small_kernels),
        experts=curve(terms.experts),
        hops=curve(terms.hops),
    )
    return replace(fingerprint, terms=longer, source=f"{fingerprint.source}; × {factor:g} for the engines beside it")
