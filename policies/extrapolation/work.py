"""The work in a run, counted from the architecture alone: bytes, operations, messages. No constant of any hardware."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.extrapolation.allreduce import AllReduceRule, Traffic
from policies.extrapolation.architecture import Architecture
from policies.extrapolation.runs import Runs

Floats = NDArray[np.float64]

ACTIVATION_BYTES = 2
"""Activations, embeddings and the language-model head stay at 16 bits, whatever the precision of the layers."""


class Work(NamedTuple):
    """Per GPU on the path of a token through all stages; arrays of shape (n,). "Step": one decode step of the whole batch.

    ``weights_read``, ``other_read``: bytes of layers, and of head and KV cache, per step. ``step_flop``, ``prompt_flop``: in the
    layers. ``all_reduces``: per pass. ``step_traffic``, ``prompt_traffic``: of all all-reduces of a pass. ``logits``: entries
    per request that a step gathers from other ranks (measured times do not grow with the batch).
    """

    weights_read: Floats
    other_read: Floats
    step_flop: Floats
    prompt_flop: Floats
    all_reduces: Floats
    step_traffic: Traffic
    prompt_traffic: Traffic
    logits: Floats


def kv_bytes_per_token(architecture: Architecture, runs: Runs) -> Floats:
    """Bytes of KV cache per token, per GPU, over the layers that a token passes; heads are copied when ranks outnumber them."""
    heads_per_gpu = np.ceil(architecture.kv_heads / runs.tp)
    return runs.layers * 2 * heads_per_gpu * architecture.head_dim * runs.kv_bytes


def count(architecture: Architecture, runs: Runs, rule: AllReduceRule) -> Work:
    """The work in each run. A step reads the context that a request has half way through its output."""
    a, tp = architecture, runs.tp
    weights = runs.layers * a.layer_weights / tp
    context = runs.batch * (runs.prompt + runs.output / 2)
    attention = 2.0 * runs.prompt * runs.prompt * a.hidden * runs.layers / tp
    passes = np.where(tp > 1, runs.layers * a.all_reduces, 0)

    def traffic(tokens: Floats) -> Traffic:
        one = rule.traffic(tp, tokens * a.hidden * ACTIVATION_BYTES)
        return Traffic(passes * one.peer, passes * one.ring)

    return Work(
        weights_read=weights * runs.weight_bytes,
        other_read=a.vocab * a.hidden * ACTIVATION_BYTES / tp + context * kv_bytes_per_token(a, runs),
        step_flop=2.0 * weights * runs.batch,
        prompt_flop=runs.batch * (2.0 * weights * runs.prompt + attention),
        all_reduces=passes.astype(float),
        step_traffic=traffic(runs.batch.astype(float)),
        prompt_traffic=traffic((runs.batch * runs.prompt).astype(float)),
        logits=a.vocab * (tp - 1.0) / tp,
    )
