"""Figures 8 and 9 once more, with two readings of the paper and its artifact that the other figures do not rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from figures.adaserve.load import Rates, length_of
from figures.adaserve.settings import Deployment, traced

OUTPUT_TOKENS = 210
"""In the mean, of the paper's requests: goodput / attainment × 369 s (the trace and one request) / requests of the trace is 209 to
212 at 2.6, 2.8, 4.2 and 4.8 requests per second (Figures 8 and 9, AdaServe, Llama-3.1-70B; 900, 1,000, 1,500 and 1,700 requests).
The released engine ends a request at its end-of-sequence token (FlexFlow Serve, request_manager.cc), 256 tokens being the most."""


def drafter(deployment: Deployment) -> str:
    """Acceptance from Figure 12 as vLLM's V0 engine counts it; the artifact sets VLLM_USE_V1=0."""
    return f"engine.speculative.drafter=adaserve/{deployment.setting.target}/by-token"


class Sourced(Rates):
    """Figures 8 and 9."""

    name = "adaserve-sourced"
    title = "AdaServe: attainment and goodput, acceptance and lengths read otherwise"
    goodput_unlike = ""
    reading = (
        "As `adaserve-rates`, but acceptance from Figure 12's vLLM-Spec curves taken as what vLLM's V0 engine counts, matching "
        "draft tokens, also after a rejected one (vLLM-Spec(4, 6, 8) then accept 2.6, 3.4 and 3.9 tokens of Llama's drafter where "
        "the other reading has 3.4, 5.0 and 6.6), and 210 output tokens, as the paper's goodput over its attainment has it. Both "
        "are inferred; both were fixed before this figure was first drawn."
    )

    def x(self, deployment: Deployment, *, quick: bool) -> Mapping[float, str]:
        rates, length_s = deployment.rates[::3] if quick else deployment.rates, length_of(quick=quick)
        return {rate: traced(deployment, rate, output_tokens=OUTPUT_TOKENS, length_s=length_s) for rate in rates}

    def assumed(self, deployment: Deployment) -> Sequence[str]:
        return (drafter(deployment),)
