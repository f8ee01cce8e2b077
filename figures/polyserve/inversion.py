"""A load whose mix of tiers turns round: engines have to change tiers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from figures.frame import SCENARIOS, Source
from figures.paper import SINGLE_IN, error_bars, series_look
from figures.polyserve import PAPER
from figures.polyserve.setting import CO, OURS, TPOT, tiered
from figures.polyserve.setting import SYSTEMS as STACKS
from figures.reproduction import Band, Expectation, Measured, curve_over_seeds, over_seeds
from figures.runner import Runner, Sweep
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

_SEEDS = (1, 2, 3, 4, 5)
_SEGMENTS, _SEGMENT_S = 8, 10
_TURN_S = _SEGMENTS // 2 * _SEGMENT_S
_SETTLED_S = (20, 40)
"""The last segments before the turn, when the fleet has found its size."""
_UP = {"20ms": 2, "30ms": 3, "50ms": 4, "100ms": 4}
"""Engines at the start: what the load needs, by the first mix."""
SYSTEMS: dict[str, tuple[str, str]] = {
    "at once": (STACKS[CO][OURS], f"[{', '.join(tiered(_UP, 20))}]"),
    "after 30 s": (STACKS[CO][OURS], f"[{', '.join(tiered(_UP, 20, start_up='30s'))}]"),
    "after 120 s": (STACKS[CO][OURS], f"[{', '.join(tiered(_UP, 20, start_up='120s'))}]"),
    "CO-Minimal": ("co-minimal", "{gpu: h200, gpus: 20}"),
}
"""PolyServe with engines that start so fast, and a baseline with all engines up."""


class Inversion:
    """Attainment over time, with the mix turned round in the middle."""

    name = "polyserve-inversion"
    title = "PolyServe when the mix of tiers turns round"
    source = Source(PAPER, "burst figure (number uncertain)")
    size = (SINGLE_IN, 2.7)
    scenario = SCENARIOS / "polyserve-inversion.yaml"
    caption = (
        "Share of requests in time (DSLO) by when they arrived, in tens of seconds; at 40 s the shares of the 20/30/50/100 ms "
        "tiers turn from 10/20/30/40 % to 40/30/20/10 %, the rate stays. PolyServe starts "
        "with 13 engines dealt out by the mix, and the 7 parked ones start at once, as the paper assumes, or take 30 or 120 s. "
        "CO-Minimal has all 20 up throughout. Mean over seeds, bars are its 95 % interval."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return (
            Expectation(
                "largest fall of attainment after the turn, engines that start at once",
                "small dip",
                PAPER,
                partial(_dip, system="at once"),
                Band(high=0.05),
                "small means 5 points; the paper's words, no number is recovered",
            ),
            Expectation(
                "the same with engines that take 30 s",
                "small dip",
                PAPER,
                partial(_dip, system="after 30 s"),
                Band(high=0.05),
                "the paper assumes engines that start at once",
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        seeds = _SEEDS[:1] if runner.quick else _SEEDS
        metrics = [f"attainment_dslo@s{i}-{tier}" for i in range(_SEGMENTS) for tier in TPOT]
        frames = []
        for system, (stack, fleet) in SYSTEMS.items():
            frame = runner.sweep(Sweep(self.scenario, {"fleet": [fleet]}, seeds, metrics, (f"policy={stack}",)))
            frames.append(frame.drop(columns="fleet").assign(system=system))
        frame = pd.concat(frames, ignore_index=True)
        at = _SEGMENT_S * frame["metric"].str.extract(r"@s(\d+)-", expand=False).astype(int)
        met = (frame["value"].astype(float) * frame["n"]).fillna(0.0)
        found = (
            frame.assign(start_s=at, met=met).groupby(["system", "start_s", "seed"], sort=False, as_index=False)[["met", "n"]].sum()
        )
        return found.assign(metric="attainment_dslo", value=found["met"] / found["n"]).drop(columns="met")

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        axes = canvas.add_axes((0.14, 0.29, 0.83, 0.67))
        for index, system in enumerate(SYSTEMS):
            curve = curve_over_seeds(frame[frame["system"] == system], "start_s")
            bars = 100 * error_bars(curve, 0.0, 1.0)
            label = system if system == "CO-Minimal" else f"PolyServe, {system}"
            axes.errorbar(
                curve.index + _SEGMENT_S / 2, 100 * curve["mean"], bars, elinewidth=0.7, label=label, **series_look(index, theme)
            )
        axes.axvline(_TURN_S, color=theme.muted, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
        axes.set_ylim(0, 103)
        axes.set_xlabel("time of arrival (s)")
        axes.set_ylabel("requests in time (%)")
        canvas.legend(*axes.get_legend_handles_labels(), loc="lower center", ncols=2, fontsize=7, columnspacing=0.9)


def _dip(frame: DataFrame, system: str) -> Measured:
    """Attainment just before the turn less its least after it."""
    rows = frame[frame["system"] == system]
    low, high = _SETTLED_S
    before = rows[(rows["start_s"] >= low) & (rows["start_s"] < high)].groupby("seed")["value"].mean()
    after = rows[rows["start_s"] >= _TURN_S].groupby("seed")["value"].min()
    return over_seeds(before - after)
