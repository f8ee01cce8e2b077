"""Pipeline stages: the same layers on more GPUs, one part after the other."""

from __future__ import annotations

import dataclasses

from policies.curve import Curve
from policies.fingerprint import Fingerprint
from traces.assembly.curves import five_digits
from traces.assembly.deployment import Deployment

HOP_S = 10e-6
"""Latency of a transfer between stages (AIConfigurator's p2p_latency)."""
LINK_EFFICIENCY = 0.8
_MOST_TOKENS = 32768.0


def in_stages(fingerprint: Fingerprint, deployment: Deployment) -> Fingerprint:
    """The fingerprint of one stage's tensor parallelism as that of the deployment's ``pipeline_parallel`` stages.

    A batch takes as long as before through all layers, with a hop between stages in which each GPU sends the activations of the
    batch's tokens. As many batches are in flight as there are stages (vLLM's batch queue), among which the decodes are spread, so a
    step of all requests lasts as long as one batch takes through all stages.
    """
    stages = deployment.pipeline_parallel
    if stages == 1:
        return fingerprint
    per_token = deployment.model.hidden * 2 / (deployment.gpu.nvlink_bytes_s * LINK_EFFICIENCY)
    hops = tuple(five_digits((stages - 1) * (HOP_S + per_token * tokens)) for tokens in (1.0, _MOST_TOKENS))
    return dataclasses.replace(
        fingerprint,
        pipeline_parallel=stages,
        terms=dataclasses.replace(fingerprint.terms, hops=Curve((1.0, _MOST_TOKENS), hops), stages=stages),
        source=f"{fingerprint.source} {stages} pipeline stages with as many micro-batches of decodes in flight, a prefill chunk "
        f"passing them in turn; hops of {HOP_S * 1e6:g} µs and {LINK_EFFICIENCY:.0%} of the link's bandwidth (estimates).",
    )
