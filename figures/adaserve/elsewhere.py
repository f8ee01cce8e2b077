"""Figures 10 and 11 under the assumptions of `adaserve-sourced`: whether these hold where they were not looked for.

    .venv/bin/python -m figures.adaserve.elsewhere

One seed, the points that `adaserve-urgency` and `adaserve-objectives` have. Half a minute of one core for each row.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from figures.adaserve import curves, digitised, sourced
from figures.adaserve.deviations import cells
from figures.adaserve.settings import ADASERVE, DEPLOYMENTS, PAPERS, TRACE_SETS, Deployment, adaserve, rivals, traced
from figures.runner import SweepRunner

RATE = 4.0
SEEDS = (1,)
URGENT = (20.0, 60.0, 90.0)
SCALES = (1.6, 1.0, 0.6)
FIGURES = ("fig10", "fig11")


def workloads(figure: str, deployment: Deployment) -> Mapping[float, str]:
    """x → the workload there."""
    tokens = sourced.OUTPUT_TOKENS
    if figure == "fig10":
        return {share: traced(deployment, RATE, urgent=share / 100, output_tokens=tokens) for share in URGENT}
    return {scale: traced(deployment, RATE, scale=scale, output_tokens=tokens) for scale in SCALES}


def rows(runner: SweepRunner) -> Iterator[str]:
    """Markdown: the pairs in the paper's order, and each system's mean deviation, in brackets of its absolute value."""
    yield "| figure, deployment | order | " + " | ".join(PAPERS) + " |"
    yield "|---|---|" + "---|" * len(PAPERS)
    for figure in FIGURES:
        for deployment in DEPLOYMENTS:
            policies = {ADASERVE: adaserve(deployment), **rivals()}
            systems = {name: policies[name] for name in PAPERS}
            sets = (*TRACE_SETS, sourced.drafter(deployment))
            frame = curves.swept(runner, deployment, workloads(figure, deployment), systems, SEEDS, ["attainment"], sets)
            kept, gaps = cells(frame, figure, deployment)
            yield f"| {figure.removeprefix('fig')}, {deployment.name} | {kept} | {gaps} |"


if __name__ == "__main__":
    if not digitised.FILE.is_file():
        sys.exit(f"{digitised.FILE}: the digitised curves are not there; put the data folder beside the project")
    for each in rows(SweepRunner(jobs=1, cache=Path(".twinserve") / "cache")):
        print(each, flush=True)
