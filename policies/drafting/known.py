"""Drafters as published measurements have them; ``python -m traces.drafting DATA`` prints every fitted number here.

Acceptance by position is taken over as published. Where accepted lengths were measured run by run, their differences are made to
fall (``traces.drafting.falling``). SpecBundle's three chain lengths are fitted by rates α βʲ. What drafters choose beside their
first choice, and how they see it, is fitted to SpecBundle's 106 tree runs together, with an error of 0.43 tokens (RMSE).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from policies.drafting.drafter import Drafter, Kind, rates_of

SIBLINGS, SPREAD, SPECBUNDLE_CONFIDENCE = 0.55, 1.0, 4.0
"""Fitted to SpecBundle's trees. They accept 0.46 tokens less than chains of as many draft tokens, where a drafter that is right
about itself would have them accept more: EAGLE-3 believes too little in its first choices, or that engine's trees lose some. All
other drafters are taken to be right about themselves (``confidence`` 1), as AdaServe takes its own."""

_CI = "vLLM, tests/v1/spec_decode/test_acceptance_length.py at 029ba37: MT-Bench, 80 prompts, 256 tokens, T = 0, k = 3"
_EDITS = "vLLM pull request 24344: BlazeEdit 5k, 90 prompts"
_DSPARK = "vLLM speculators issue 1135: DSpark, k = 8, Llama-3.2-1B-Instruct"
_INFERENCEX = "SemiAnalysis InferenceX, golden_al_distribution: SPEED-Bench qualitative coding, vLLM on B300"
_SPECBUNDLE = "SpecBundle (sgl-project/SpecForge at a6b6b02, docs/spec_bundle): EAGLE-3 of SpecForge, SGLang, chains of 3, 5, 7"
_FIG_12 = (
    "AdaServe, EuroSys '26, Fig. 12, vLLM-Spec(4, 6, 8), digitised; the mean over requests of accepted tokens per verification"
)

_BY_TOKEN = (
    "AdaServe, EuroSys '26, Fig. 12, vLLM-Spec(4, 6, 8), digitised, as vLLM's V0 engine counts: its `num_accepted_tokens` "
    "(vllm/model_executor/layers/spec_decode_base_sampler.py) adds up matching draft tokens, also those after one that is rejected"
)


def _drafted(survival: tuple[float, ...], source: str) -> Drafter:
    return Drafter((Kind(rates_of(survival)),), SIBLINGS, SPREAD, 1.0, source)


def _bundle(first: float, decay: float) -> Drafter:
    rates = tuple(first * decay**place for place in range(8))
    return Drafter((Kind(rates),), SIBLINGS, SPREAD, SPECBUNDLE_CONFIDENCE, _SPECBUNDLE)


def _two_kinds(share: float, high: float, low: float) -> Drafter:
    return Drafter((Kind((high,), share), Kind((low,), 1 - share)), SIBLINGS, SPREAD, 1.0, _FIG_12)


def _by_place(share: float, high: float, low: float) -> Drafter:
    survival = tuple(share * high**place + (1 - share) * low**place for place in range(1, 17))
    return Drafter((Kind(rates_of(survival)),), SIBLINGS, SPREAD, 1.0, f"{_FIG_12}; every request alike")


def _by_token(*accepted: float) -> Drafter:
    """From what vLLM-Spec(4, 6, 8) accept by its own count: the four first places, the next two, the last two."""
    four, six, eight = accepted
    rates = (*(four / 4,) * 4, *((six - four) / 2,) * 2, *((eight - six) / 2,) * 2)
    return Drafter((Kind(rates),), SIBLINGS, SPREAD, 1.0, _BY_TOKEN)


_LLAMA_70B = (0.8417, 0.9944, 0.2339)
_QWEN_32B = (0.7260, 0.9917, 0.3170)

DRAFTERS: Mapping[str, Drafter] = MappingProxyType(
    {
        "adaserve/llama-3.1-70b": _two_kinds(*_LLAMA_70B),
        "adaserve/llama-3.1-70b/by-place": _by_place(*_LLAMA_70B),
        "adaserve/llama-3.1-70b/by-token": _by_token(3.37, 5.00, 6.62),
        "adaserve/qwen2.5-32b": _two_kinds(*_QWEN_32B),
        "adaserve/qwen2.5-32b/by-place": _by_place(*_QWEN_32B),
        "adaserve/qwen2.5-32b/by-token": _by_token(2.97, 4.36, 5.72),
        "eagle3/llama-3.1-8b/mt-bench": _drafted((0.7296, 0.5208, 0.3545), _CI),
        "eagle3/gpt-oss-20b/mt-bench": _drafted((0.7165, 0.512, 0.3337), _CI),
        "eagle3/qwen3-vl-30b-a3b/mt-bench": _drafted((0.29, 0.062, 0.0115), _CI),
        "eagle3/kimi-k2.5/coding": _drafted((0.83, 0.6, 0.45, 0.36, 0.22, 0.16, 0.09, 0.06), _INFERENCEX),
        "eagle/llama-3.1-8b/edits": _drafted((0.77, 0.45, 0.24), _EDITS),
        "ngram/llama-3.1-8b/edits": Drafter((Kind(rates_of((0.81, 0.74, 0.7, 0.68, 0.66))),), source=_EDITS),
        "mtp/deepseek-v4-pro/coding": _drafted((0.79, 0.48, 0.22, 0.05, 0.01, 0.01, 0.01, 0.01), _INFERENCEX),
        "mtp/deepseek-v4-pro/coding-no-thinking": _drafted((0.92, 0.69, 0.36, 0.065, 0.065, 0.06, 0.0, 0.0), _INFERENCEX),
        "mtp/glm-5.2/coding": _drafted((0.84, 0.66, 0.49, 0.34, 0.28, 0.17, 0.14, 0.14), _INFERENCEX),
        "mtp/qwen3.5-397b-a17b/coding": _drafted((0.93, 0.8, 0.66, 0.58, 0.44, 0.39, 0.24, 0.17), _INFERENCEX),
        "dspark/llama-3.2-1b/humaneval": _drafted((0.837, 0.685, 0.562, 0.46, 0.368, 0.283, 0.217, 0.161), _DSPARK),
        "dspark/llama-3.2-1b/math": _drafted((0.836, 0.682, 0.55, 0.438, 0.345, 0.258, 0.192, 0.134), _DSPARK),
        "dspark/llama-3.2-1b/writing": _drafted((0.617, 0.388, 0.244, 0.158, 0.099, 0.062, 0.041, 0.026), _DSPARK),
        "specbundle/llama-3.1-8b/humaneval": _bundle(0.8969, 0.9715),
        "specbundle/llama-3.1-8b/livecodebench": _bundle(0.8602, 0.9737),
        "specbundle/llama-3.1-8b/mtbench": _bundle(0.7955, 0.9824),
        "specbundle/llama-3.1-8b/gsm8k": _bundle(0.7219, 0.9519),
        "specbundle/llama-3.1-8b/math500": _bundle(0.9206, 0.9771),
        "specbundle/llama-3.1-8b/gpqa": _bundle(0.8561, 0.9704),
        "specbundle/llama-3.1-8b/financeqa": _bundle(0.5215, 1.0),
        "specbundle/qwen3-30b-a3b/humaneval": _bundle(0.8884, 0.9863),
        "specbundle/qwen3-30b-a3b/livecodebench": _bundle(0.8542, 0.9836),
        "specbundle/qwen3-30b-a3b/mtbench": _bundle(0.6961, 0.9820),
        "specbundle/qwen3-30b-a3b/gsm8k": _bundle(0.7463, 0.9535),
        "specbundle/qwen3-30b-a3b/math500": _bundle(0.8994, 0.9860),
        "specbundle/qwen3-30b-a3b/gpqa": _bundle(0.7189, 0.9898),
        "specbundle/qwen3-30b-a3b/financeqa": _bundle(0.5736, 0.9981),
    }
)
"""By drafter, target and category of requests. AdaServe's: 70B with a 1B drafter, 32B with a 0.5B drafter, one rate for all its
categories, as the figure has no other. ``/by-place``: the same means with every request alike, so that they hold for the mean over
verifications too. ``/by-token``: the figure's numbers over draft tokens are how likely a token matches, whatever came before it."""
