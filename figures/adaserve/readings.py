"""How the paper is read where it does not say: what its vLLM-Spec curves of accepted tokens count, and how long requests are."""

from __future__ import annotations

from dataclasses import dataclass

from figures.adaserve.settings import OUTPUT_TOKENS, Deployment


@dataclass(frozen=True, slots=True)
class Reading:
    """``drafter``: ending of the name of the drafter in ``policies.drafting.known``. ``output_tokens``: of every request.
    ``sentence``: for a caption. ``goodput_unlike``: why goodput is not held against the paper's; empty: it is.
    """

    drafter: str
    output_tokens: int
    sentence: str
    goodput_unlike: str = ""

    def sets(self, deployment: Deployment) -> str:
        """The drafter, as an override of the deployment's scenario."""
        return f"engine.speculative.drafter=adaserve/{deployment.setting.target}/{self.drafter}"


BY_PLACE = Reading(
    "by-place",
    OUTPUT_TOKENS,
    "Acceptance by place of the draft token, as Figure 12's vLLM-Spec curves have it if they count tokens accepted in a row; 256 "
    "output tokens.",
    "the paper's requests end at about 210 tokens (`adaserve-sourced`), ours at 256",
)
"""What figures first rested on."""

BY_TOKEN = Reading(
    "by-token",
    210,
    "Acceptance from Figure 12's vLLM-Spec curves taken as what vLLM's V0 engine counts, matching draft tokens, also after a "
    "rejected one (vLLM-Spec(4, 6, 8) then accept 2.6, 3.4 and 3.9 tokens of Llama's drafter, not 3.4, 5.0 and 6.6), and 210 "
    "output tokens, as the paper's goodput over its attainment has it. Both are inferred; both were fixed before the first figure "
    "with them was drawn.",
)
"""The artifact sets VLLM_USE_V1=0. Of the paper's requests, goodput / attainment × 369 s (the trace and one request) / requests of
the trace is 209 to 214 at all twelve rates (Figures 8 and 9, AdaServe, Llama-3.1-70B). The released engine ends a request at its
end-of-sequence token (FlexFlow Serve, request_manager.cc), 256 tokens being the most."""
