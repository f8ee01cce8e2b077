"""What a step's time goes into: AdaServe's Figure 15, for two beliefs of how long a pass of the drafter takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.adaserve import curves, digitised
from figures.adaserve.load import SEEDS
from figures.adaserve.settings import DEPLOYMENTS, PAPER, Deployment, adaserve, fingerprint, workload
from figures.frame import Source
from figures.paper import SINGLE_IN
from figures.reproduction import Band, Expectation, over_seeds
from figures.runner import Runner
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

RATE = 4.0
SHARES = {"llama": (31.5, 68.2), "qwen": (27.0, 72.6)}
"""Of a step, that the drafter and the verification take in the paper (%)."""
PAPER_S = {"llama": 7.2e-3, "qwen": 4.9e-3}
"""Seconds of a pass with which the paper's shares come about, at the depth and the budget that the artifact sets: 31.5 / 68.2 ×
125 ms / 8 and 27.0 / 72.6 × 66 ms / 5."""
SHEET, TOLD, MADE = "data sheet", "as told", "from Fig. 15"
PASS_S = {SHEET: {"llama": 3.5e-3, "qwen": 2.5e-3}, TOLD: {"llama": 5e-3, "qwen": 4e-3}, MADE: PAPER_S}


class StepTime:
    """Figure 15."""

    name = "adaserve-time"
    title = "AdaServe: what a step's time goes into"
    source = Source(PAPER, "Figure 15")
    size = (SINGLE_IN, 2.9)

    @property
    def caption(self) -> str:
        paper = "" if digitised.FILE.is_file() else digitised.ABSENT
        return (
            "Share of busy time in which the drafter runs; the rest verifies drafts and computes prompts. `as told`: a pass of the "
            "drafter takes what the paper's §6.3 says (5 and 4 ms); all other figures rest on it. `data sheet`: what its weights "
            "take to read on an A100 and what a step takes at least (3.5 and 2.5 ms). `from Fig. 15`: what it would have to take "
            "for the paper's shares at full depth and budget (7.2 and 4.9 ms). Scheduling takes 0.3 to 0.4 % in the paper and no "
            "time in the simulator; our selection takes 0.06 ms of a step (64 requests, 512 tokens). 4 requests/s, 60 % coding, "
            f"1 minute. {paper}"
        ).strip()

    @property
    def expected(self) -> Sequence[Expectation]:
        return curves.each(self._rows)

    def _rows(self, deployment: Deployment) -> list[Expectation]:
        paper, _ = SHARES[deployment.key]
        return [
            Expectation(
                f"{deployment.name}: share of time that the drafter takes, {drafting} (%)",
                f"{paper:g}",
                f"{PAPER}, Fig. 15",
                lambda frame, drafting=drafting: over_seeds(  # type: ignore[misc]
                    100 * frame[(frame["model"] == deployment.key) & (frame["drafting"] == drafting)].set_index("seed")["value"]
                ),
                None if drafting == MADE else Band(paper - 5, paper + 5),
                "the paper's shares are what this draft time is made from"
                if drafting == MADE
                else "agrees within 5 points; the paper does not tell the load",
            )
            for drafting in PASS_S
        ]

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        from sim.run import simulate
        from traces.scenario import load_scenario
        from traces.tables import floats

        seeds = SEEDS[:2] if runner.quick else SEEDS
        rows = []
        for deployment in DEPLOYMENTS:
            curve = fingerprint(deployment).terms.tokens
            for drafting, pass_s in PASS_S.items():
                for seed in seeds:
                    common = (
                        f"policy={json.dumps(adaserve(deployment))}",
                        f"workload={workload(deployment, RATE)}",
                        f"engine.max_num_seqs={deployment.setting.max_seqs}",
                        f"seed={seed}",
                        *(("duration=15s", "warmup=5s") if runner.quick else ("duration=60s",)),
                    )
                    drafts = f"engine.speculative.draft_time={pass_s[deployment.key]}"
                    steps = simulate(load_scenario(deployment.scenario, (*common, drafts))).steps
                    tokens = sum((floats(steps, name) for name in ("prefill_tokens", "decode_tokens", "spec_tokens")), np.zeros(1))
                    busy = floats(steps, "duration_s").sum()
                    share = 1 - curve.many(tokens).sum() / busy
                    rows.append((deployment.key, drafting, seed, "draft_share", share, len(tokens)))
        runner.rest_on(
            f"Simulated: both deployments at {RATE:g} requests/s for 1 minute (scenarios adaserve-llama and adaserve-qwen).", seeds
        )
        return pd.DataFrame(rows, columns=["model", "drafting", "seed", "metric", "value", "n"])

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        axes = canvas.add_axes((0.3, 0.17, 0.66, 0.7))
        bars: list[tuple[str, float]] = []
        for deployment in DEPLOYMENTS:
            means = frame[frame["model"] == deployment.key].groupby("drafting")["value"].mean()
            bars += [(f"{deployment.name}\n{drafting}", 100 * means[drafting]) for drafting in PASS_S]
            if (paper := digitised.bar("fig15", deployment.name, "Speculation")) is not None:
                bars.append((f"{deployment.name}\nthe paper", paper))
        for place, (name, share) in enumerate(bars):
            fill = {"facecolor": theme.page if name.endswith("paper") else theme.series[0]}
            axes.barh([place], [share], 0.62, edgecolor=theme.series[0], linewidth=0.9, **fill)
            axes.barh([place], [100 - share], 0.62, left=[share], color=theme.grid, edgecolor=theme.rule, linewidth=0.6)
            axes.annotate(f"{share:.0f} %", (share, place), xytext=(3, 0), textcoords="offset points", va="center_baseline", size=7)
        axes.set_yticks(range(len(bars)), [name for name, _ in bars])
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 100)
        axes.set_xlabel("busy time (%)")
        axes.set_title("drafting (dark), verifying and prompts (light)")
