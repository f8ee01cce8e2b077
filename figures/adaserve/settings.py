"""AdaServe's two deployments as figures run them: scenarios, step times, systems and workloads.

``python -m figures.adaserve.settings`` writes the fingerprints that hold the artifact's verify tables.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures.adaserve import arrivals
from figures.frame import SCENARIOS
from policies.adaserve.artifact import SETTINGS, Setting
from policies.curve import Lines
from policies.fingerprint import NOTHING, Fingerprint, Terms

PAPER = "Li et al., AdaServe, EuroSys '26, arXiv 2501.12162"
ARTIFACT = "zikun-li/AdaServe-Artifact-Evaluation"
TRACE_SETS = (f"duration={arrivals.LENGTH_S:g}s", "warmup=0s", "drain=3min")
"""A trace from its first request on, all of which may finish: what the artifact measures."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """``key``: in the data of figures. ``name``: as the paper's figures head it. ``rates``: requests per second, as the paper's
    figures name its traces (``figures.adaserve.arrivals``).
    """

    key: str
    name: str
    setting: Setting
    rates: tuple[float, ...]

    @property
    def scenario(self) -> Path:
        return SCENARIOS / f"adaserve-{self.key}.yaml"

    @property
    def fingerprint_file(self) -> Path:
        return SCENARIOS / f"adaserve-{self.key}.fingerprint.json"

    @property
    def cat1_s(self) -> float:
        """The tightest objective: 1.2 × the TPOT without load."""
        return 1.2 * self.setting.tpot_s


LLAMA = Deployment("llama", "Llama-3.1-70B", SETTINGS["llama-3.1-70b"], (2.6, 3.4, 4.2, 4.8))
QWEN = Deployment("qwen", "Qwen2.5-32B", SETTINGS["qwen2.5-32b"], (2.4, 3.0, 3.6, 4.2))
DEPLOYMENTS = (LLAMA, QWEN)


def fingerprint(deployment: Deployment) -> Fingerprint:
    """The artifact's verify table as a fingerprint: a step takes as long as its tokens, whatever they are."""
    setting = deployment.setting
    terms = Terms(
        overhead=0.0,
        gemm=setting.verify.curve,
        sampled=NOTHING,
        prefill_chunk=0.0,
        prefill_token=0.0,
        prefill_attention=0.0,
        decode=Lines.proportional(0.0),
    )
    return Fingerprint(
        setting.target,
        "a100",
        setting.tensor_parallel,
        "bf16",
        "FlexFlow Serve",
        "measured",
        f"Verify latency by tokens, {ARTIFACT}; below 128 tokens in proportion, never below the TPOT without load.",
        terms,
        {"tokens": (1.0, 1024.0)},
        0.0,
    )


# --- systems ----------------------------------------------------------------------------------------------------------

ADASERVE, SARATHI, VLLM = "AdaServe", "Sarathi-Serve", "vLLM"
SPEC = {k: f"vLLM-Spec({k})" for k in (4, 6, 8)}
TURBOSPEC, ADASPEC = "TurboSpec", "AdaSpec"
PAPERS = (ADASERVE, SARATHI, VLLM, *SPEC.values())
"""The systems of the paper's figures."""
ALL = (*PAPERS, TURBOSPEC, ADASPEC)


def adaserve(deployment: Deployment, **rules: Any) -> dict[str, Any]:
    """AdaServe with the artifact's parameters, and what differs from them."""
    limits = deployment.setting.limits
    chosen = {
        "budget": deployment.setting.budget,
        "depth_min": limits.depth_min,
        "depth_max": limits.depth_max,
        "width_max": limits.width_max,
        "draft_budget": limits.draft_budget,
        **rules,
    }
    return _policy({"sarathi": {"chunk_tokens": 1024}}, {"adaserve": chosen})


def rivals() -> dict[str, dict[str, Any]]:
    """vLLM 0.8.4 computes prompts whole and first; the others share steps of 2,048 tokens between prompts and decodes."""
    shared = {"sarathi": {"chunk_tokens": 2048}}
    return {
        SARATHI: _policy(shared, "none"),
        VLLM: _policy("prefill-first", "none"),
        **{name: _policy("prefill-first", {"fixed-k": {"k": k}}) for k, name in SPEC.items()},
        TURBOSPEC: _policy(shared, "turbospec"),
        ADASPEC: _policy(shared, "adaspec"),
    }


def _policy(batcher: Any, speculator: Any) -> dict[str, Any]:
    return {"router": "round-robin", "batcher": batcher, "speculator": speculator}


# --- workloads --------------------------------------------------------------------------------------------------------

_PROMPTS = {"coding": (132, 8, 1024), "chat": (18, 4, 256), "summary": (777, 64, 3072)}
OUTPUT_TOKENS = 256
"""At most, in the paper's runs; all requests have so many where nothing else is said."""
_TPOT_S = {"chat": 0.050, "summary": 0.150}


def workload(
    deployment: Deployment,
    rate: float,
    *,
    urgent: float = 0.6,
    scale: float = 1.2,
    output_tokens: int = OUTPUT_TOKENS,
    more: Any = None,
) -> str:
    """The three categories at ``rate`` requests per second in all, as a value of the scenario's key ``workload``.

    ``urgent``: share of coding; the others share the rest. ``scale``: coding's objective over the TPOT without load. ``more``:
    further keys of each entry by name.
    """
    shares = {"coding": urgent, "chat": (1 - urgent) / 2, "summary": (1 - urgent) / 2}
    entries = []
    for name, (mean, least, most) in _PROMPTS.items():
        tpot_s = _TPOT_S.get(name, scale * deployment.setting.tpot_s)
        lengths = {"lognormal": {"mean": mean, "sigma": 0.5, "min": least, "max": most}}
        entries.append(
            {
                "name": name,
                "trace": {"prompt_tokens": lengths, "output_tokens": output_tokens},
                "rate": round(rate * shares[name], 6),
                "slo": {"tpot": round(tpot_s, 6)},
                **((more or {}).get(name, {})),
            }
        )
    return json.dumps(entries)


def traced(
    deployment: Deployment,
    rate: float,
    *,
    urgent: float = 0.6,
    scale: float = 1.2,
    output_tokens: int = OUTPUT_TOKENS,
    length_s: float = arrivals.LENGTH_S,
) -> str:
    """The same at the times of the trace that the paper calls ``rate``, pressed into ``length_s``."""
    trace = arrivals.named(rate, length_s)
    more = {name: {"arrivals": trace.arrivals()} for name in _PROMPTS}
    return workload(deployment, trace.rate, urgent=urgent, scale=scale, output_tokens=output_tokens, more=more)


if __name__ == "__main__":
    for each in DEPLOYMENTS:
        each.fingerprint_file.write_text(json.dumps(fingerprint(each).to_dict(), indent=1) + "\n", "utf-8")
