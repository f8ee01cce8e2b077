"""AdaServe in Figures 8, 10 and 11 if a verification takes as long as Figure 15 has it, and not what the artifact's table has.

The table is in scripts for another machine than the paper's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from figures.adaserve import curves
from figures.adaserve.differences import SEEDS
from figures.adaserve.differences.machines import scaled
from figures.adaserve.differences.points import gaps, heads, mean, points
from figures.adaserve.readings import BY_TOKEN
from figures.adaserve.settings import ADASERVE, DEPLOYMENTS, TRACE_SETS, Deployment, adaserve
from figures.adaserve.time import PASS_S, SHARES, TOLD
from figures.runner import Runner


def verify(deployment: Deployment) -> float:
    """What a verification takes by the passes of §6.3 and the shares of Figure 15, over what the table has for the whole budget."""
    drafting, verifying = SHARES[deployment.key]
    setting = deployment.setting
    passes_s = setting.limits.depth_max * PASS_S[TOLD][deployment.key]
    return passes_s * verifying / drafting / setting.verify.curve.at(setting.budget)


def rows(runner: Runner, folder: Path) -> Iterator[str]:
    """Markdown: at each point AdaServe's attainment less the paper's, and the mean over all, in brackets of the absolute value."""
    for deployment in DEPLOYMENTS:
        yield f"| {deployment.name} | {heads(deployment)} | mean |"
        yield "|---" * (len(points(deployment)) + 2) + "|"
        for factor in (1.0, verify(deployment)):
            sets = (*TRACE_SETS, BY_TOKEN.sets(deployment), scaled(deployment, folder, factor))
            x = {point.x: point.workload for point in points(deployment)}
            frame = curves.swept(runner, deployment, x, {ADASERVE: adaserve(deployment)}, SEEDS, ["attainment"], sets)
            found = gaps(frame, deployment, ADASERVE)
            told = " | ".join(f"{gap:+.0f}" for gap in found)
            yield f"| AdaServe verifies in {factor:.2f} of the table's time | {told} | {mean(found)} |"
        yield ""
