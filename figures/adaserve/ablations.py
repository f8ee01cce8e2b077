"""What AdaServe's parts are worth, what chains cost against trees, and how rivals do that choose one length for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from figures.adaserve import curves
from figures.adaserve.load import QUICK, SEEDS, SHORT
from figures.adaserve.settings import ADASERVE, ADASPEC, LLAMA, PAPER, SPEC, TURBOSPEC, adaserve, rivals, workload
from figures.frame import Source
from figures.paper import DOUBLE_IN, ramp
from figures.reproduction import Band, Expectation, Measured, over_seeds
from figures.runner import Runner
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

FIG_12, BY_TOKEN, EAGLE_3 = "Figure 12's drafter", "Figure 12's, by token", "an EAGLE-3 head"
FIG_16_RATE = 4.0
_DRAFTERS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    FIG_12: ("adaserve/llama-3.1-70b/by-place", (4.8, 9.6)),
    BY_TOKEN: ("adaserve/llama-3.1-70b/by-token", (FIG_16_RATE, 5.6)),
    EAGLE_3: ("eagle3/llama-3.1-8b/mt-bench", (2.6, 4.8)),
}
CHAINS, GREEDY, EQUAL, PAYING = "chains alone", "greedy only", "equal split", "spending what pays"
_UNLIKE = (
    "AdaServe fills its budget whatever a token is worth, the rivals draft what pays; AdaServe admits 64 requests at a time and "
    "lets others wait for their first token, which no objective here counts, and the rivals 512"
)


def variants() -> dict[str, dict[str, Any]]:
    """AdaServe as it is, without one of its parts each, with what a switch changes; and rivals."""
    others = rivals()
    return {
        ADASERVE: adaserve(LLAMA),
        CHAINS: adaserve(LLAMA, width_max=1),
        GREEDY: adaserve(LLAMA, phases="greedy"),
        EQUAL: adaserve(LLAMA, phases="equal"),
        "always 8 × 3": adaserve(LLAMA, depth_min=8, draft_budget=3 * 64),
        "the released code": adaserve(LLAMA, order="ascending", formula="code", margin=1.05),
        "counting prompts": adaserve(LLAMA, count_prompts=True),
        "B = 128": adaserve(LLAMA, budget=128),
        PAYING: adaserve(LLAMA, spend="paying"),
        SPEC[4]: others[SPEC[4]],
        TURBOSPEC: others[TURBOSPEC],
        ADASPEC: others[ADASPEC],
    }


class Ablations:
    """Attainment of variants and rivals, for three drafters."""

    name = "adaserve-ablations"
    title = "AdaServe's parts, chains against trees, and rivals"
    source = Source(PAPER)
    size = (DOUBLE_IN, 3.3)
    caption = (
        "Attainment of Llama-3.1-70B at two offered rates (requests/s), faint to strong; mean over seeds. `AdaServe`: trees of "
        "up to 8 × 3 and a budget of 512, as the artifact sets it. `chains alone`: what vLLM can verify. `always 8 × 3`: no "
        "adaptation to load. `the released code`: its order, depth and margin. `counting prompts`: t_spec includes the prompt "
        "tokens of the step. Left, acceptance as Figure 12 gives it, at rates above the paper's; in the middle, the figure read as "
        "vLLM's V0 engine counts (`adaserve-sourced`), from 4 requests/s; right, that of an EAGLE-3 head as published for "
        "Llama-3.1-8B (0.73, 0.52, 0.36 by position). Poisson arrivals, one minute. Rates, and the EAGLE-3 head, were chosen after "
        "a first look: at the paper's rates all variants attain 100 % with the left one."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        def less(variant: str, drafter: str) -> Any:
            return lambda frame: self._difference(frame, drafter, ADASERVE, variant)

        rows = [
            Expectation(
                f"{drafter}: attainment, trees less chains (points, mean over rates)",
                "–",
                "ours: no paper has it",
                less(CHAINS, drafter),
                why="the price of verifying chains, which is what vLLM does; negative: the tree's extra tokens cost more than they "
                "bring",
            )
            for drafter in _DRAFTERS
        ]
        rows += [
            Expectation(
                f"{drafter}: attainment, AdaServe less {variant} (points, mean over rates)",
                "> 0: both phases are needed",
                PAPER,
                less(variant, drafter),
                Band(low=0),
            )
            for drafter in _DRAFTERS
            for variant in (GREEDY, EQUAL)
        ]
        rows.append(
            Expectation(
                f"{BY_TOKEN}: attainment at {FIG_16_RATE:g} req/s, AdaServe less equal split (points)",
                "24.6: both phases; 28.7 with CUDA graphs",
                f"{PAPER}, Fig. 16, Llama-3.1-70B; its rate is not told, its sum is Figure 8's at {FIG_16_RATE:g} req/s",
                lambda frame: self._difference(frame[frame["x"] == FIG_16_RATE], BY_TOKEN, ADASERVE, EQUAL),
                Band(19.6, 29.6),
                "agrees within 5 points",
            )
        )
        rows += [
            Expectation(
                f"{drafter}: attainment, {one} less {rival} (points, mean over rates)",
                "–",
                "ours: the paper does not compare with it",
                lambda frame, drafter=drafter, one=one, rival=rival: self._difference(frame, drafter, one, rival),  # type: ignore[misc]
                why=_UNLIKE,
            )
            for drafter in _DRAFTERS
            for one in (ADASERVE, PAYING)
            for rival in (TURBOSPEC, ADASPEC)
        ]
        return rows

    @staticmethod
    def _difference(frame: DataFrame, drafter: str, one: str, other: str) -> Measured:
        rows = frame[frame["drafter"] == drafter]
        means = rows.pivot_table(index="seed", columns="system", values="value")
        return over_seeds(100 * (means[one] - means[other]))

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        sets: Sequence[str] = QUICK if runner.quick else SHORT
        frames = []
        for shown, (drafter, rates) in _DRAFTERS.items():
            x = {rate: workload(LLAMA, rate) for rate in (rates[::2] if runner.quick else rates)}
            seeds = SEEDS[:2] if runner.quick else SEEDS
            more = f"engine.speculative.drafter={drafter}"
            frame = curves.swept(runner, LLAMA, x, variants(), seeds, ("attainment",), (*sets, more))
            frames.append(frame.assign(drafter=shown))
        return pd.concat(frames, ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        panels = canvas.subplots(1, 3, sharey=True)
        canvas.subplots_adjust(left=0.155, right=0.985, top=0.85, bottom=0.12, wspace=0.12)
        names = list(variants())
        for axes, shown in zip(panels, _DRAFTERS, strict=True):
            mine = frame[frame["drafter"] == shown]
            means = mine.pivot_table(index="system", columns="x", values="value")
            colours = ramp(len(means.columns), theme)
            for place, name in enumerate(names):
                values = 100 * means.loc[name]
                axes.plot([values.min(), values.max()], [place, place], color=theme.grid, linewidth=2.5, zorder=1)
                for value, colour in zip(values, colours, strict=True):
                    axes.plot([value], [place], marker="o", markersize=4.2, color=colour, linestyle="none", clip_on=False)
            axes.set_xlim(0, 101)
            axes.set_xlabel("SLO attainment (%)")
            rates = ", ".join(f"{rate:g}" for rate in means.columns)
            axes.set_title(f"{shown}\n{rates} requests/s")
            axes.grid(axis="y", visible=False)
        panels[0].set_yticks(range(len(names)), names)
        panels[0].tick_params(axis="y", length=0)
        panels[0].invert_yaxis()
