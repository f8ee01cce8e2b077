"""vLLM-Spec in Figures 8, 10 and 11: what would have it as slow as the paper, one thing exchanged at a time.

vLLM's V0 engine scores drafts by *batch expansion* unless the target runs without CUDA graphs, and the artifact's script has that
switch commented out: every draft token becomes a sequence of its own that reads its request's whole KV (spec_decode_worker.py,
batch_expansion.py; "suboptimal especially as the batch size, proposal length, and sequence lengths grow", vLLM 0.9.2, API
reference). The table of verify times is of another engine and knows nothing of it. What it costs on these machines is published
nowhere; there are two estimates, by bytes and by a measurement of another model. The second one has some of the first in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from figures.adaserve import curves
from figures.adaserve.differences import SEEDS
from figures.adaserve.differences.machines import other, times
from figures.adaserve.differences.points import gaps, heads, mean, points
from figures.adaserve.readings import BY_TOKEN
from figures.adaserve.settings import DEPLOYMENTS, QWEN, SPEC, TRACE_SETS, Deployment, rivals
from figures.runner import Runner
from policies.curve import Curve, Lines

if TYPE_CHECKING:
    from pandas import DataFrame

LAYERS: Mapping[str, int] = {"llama": 80, "qwen": 64}
KV_WIDTH_BYTES = 2 * 8 * 128 * 2
"""Keys and values of one token in one layer of either model: 8 heads of 128 numbers of 2 bytes (grouped-query attention)."""
BANDWIDTH = 2.039e12
"""Bytes per second of an A100-SXM4-80GB (data sheet)."""
EXPANSION_S = 0.05e-3
"""For each scored token, what batch expansion takes longer than one pass over the KV: (54.5 − 35.1) ms over 64 × 6 tokens, and 0.03
to 0.07 ms from 4 to 128 requests (vLLM pull request 5691, Llama-7B on one A100, 5 draft tokens)."""
BY_CATEGORY: Mapping[str, tuple[str, str]] = {
    "llama": ("specbundle/llama-3.1-8b/humaneval", "specbundle/llama-3.1-8b/mtbench"),
    "qwen": ("dspark/llama-3.2-1b/humaneval", "dspark/llama-3.2-1b/writing"),
}
"""Published drafters on code, and on other text. Mixed as the requests are, they accept about what Figure 12 has read by token."""


@dataclass(frozen=True, slots=True)
class Engine:
    """vLLM-Spec's. ``pass_s``: of the drafter; ``None`` = as the paper tells it. ``verify``: factor on the table's times.
    ``kv_reads``: draft tokens read their requests' KV anew. ``row_s``: per scored token, ``step_s``: per step, ``prompt_s``: per
    prompt, on top. ``by_category``: code is accepted more than other text.
    """

    pass_s: float | None = None
    verify: float = 1.0
    kv_reads: bool = False
    row_s: float = 0.0
    step_s: float = 0.0
    prompt_s: float = 0.0
    by_category: bool = False
    seats: int | None = None
    output_tokens: int = BY_TOKEN.output_tokens

    def sets(self, deployment: Deployment, k: int, folder: Path) -> tuple[str, ...]:
        """As overrides of the deployment's scenario."""
        kv_s = LAYERS[deployment.key] * KV_WIDTH_BYTES / deployment.setting.tensor_parallel / BANDWIDTH if self.kv_reads else 0.0
        fingerprint = other(
            deployment,
            folder,
            overhead=self.step_s,
            gemm=times(deployment, self.verify),
            sampled=Curve.proportional(self.row_s),
            prefill_chunk=self.prompt_s,
            decode=Lines((1.0, 2.0), (0.0, 0.0), (k * kv_s, k * kv_s)),
        )
        code, text = BY_CATEGORY[deployment.key]
        drafter = {"coding": code, "chat": text, "summary": text}
        return (
            *TRACE_SETS,
            fingerprint,
            f"engine.speculative.drafter={json.dumps(drafter)}" if self.by_category else BY_TOKEN.sets(deployment),
            *(() if self.pass_s is None else (f"engine.speculative.draft_time={self.pass_s}",)),
            *(() if self.seats is None else (f"engine.max_num_seqs={self.seats}",)),
        )


SAME = Engine()
EXPANDED = replace(SAME, kv_reads=True, row_s=EXPANSION_S)
TRIED: Sequence[tuple[str, str, Engine]] = (
    ("nothing: `adaserve-sourced`", "–", SAME),
    ("KV is read for every draft token", "fact: engine; time: data sheet", replace(SAME, kv_reads=True)),
    ("a scored token takes 0.05 ms more", "fact: engine; time: PR 5691, another model", replace(SAME, row_s=EXPANSION_S)),
    ("both, an upper estimate", "inferred", EXPANDED),
    ("code is accepted more than text, the mean being the same", "inferred", replace(SAME, by_category=True)),
    ("0.05 ms, and code accepted more", "inferred", replace(SAME, row_s=EXPANSION_S, by_category=True)),
    ("**both, and code accepted more**", "inferred", replace(EXPANDED, by_category=True)),
    ("the drafter computes prompts too, 4 ms each", "fact: engine; time: inferred", replace(SAME, prompt_s=4e-3)),
    ("a pass of the drafter takes 7.5 ms", "none", replace(SAME, pass_s=7.5e-3)),
    ("the engine's own work takes 20 ms per step", "none", replace(SAME, step_s=20e-3)),
    ("verifying takes 1.5 times the table's time", "none", replace(SAME, verify=1.5)),
    ("80 seats", "none", replace(SAME, seats=80)),
    ("256 output tokens", "as asked for", replace(SAME, output_tokens=256)),
)

CHECKED = (SAME, EXPANDED, replace(SAME, by_category=True), replace(EXPANDED, by_category=True))
"""What is held against Llama-3.1-70B, too: it was looked for on Qwen2.5-32B."""


def rows(runner: Runner, folder: Path) -> Iterator[str]:
    """Markdown: what was exchanged and its source; at each point vLLM-Spec(4), (6) and (8)'s attainment less the paper's; and the
    mean over all, in brackets of the absolute value.
    """
    for deployment in DEPLOYMENTS[::-1]:
        yield f"| {deployment.name} | source | {heads(deployment)} | mean |"
        yield "|---" * (len(points(deployment)) + 3) + "|"
        for name, source, engine in TRIED if deployment is QWEN else [row for row in TRIED if row[2] in CHECKED]:
            frame = runs(runner, deployment, engine, folder)
            found = [gaps(frame, deployment, system) for system in SPEC.values()]
            told = " | ".join(", ".join(f"{gap:+.0f}" for gap in at) for at in zip(*found, strict=True))
            yield f"| {name} | {source} | {told} | {mean([gap for row in found for gap in row])} |"
        yield ""


def runs(runner: Runner, deployment: Deployment, engine: Engine, folder: Path) -> DataFrame:
    """Attainment of vLLM-Spec at all points."""
    import pandas as pd

    x = {point.x: point.workload for point in points(deployment, engine.output_tokens)}
    frames = [
        curves.swept(runner, deployment, x, {name: rivals()[name]}, SEEDS, ["attainment"], engine.sets(deployment, k, folder))
        for k, name in SPEC.items()
    ]
    return pd.concat(frames, ignore_index=True)
