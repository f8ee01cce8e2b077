"""Categories that peak one after the other: AdaServe's Figure 14."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from figures.adaserve import curves, digitised
from figures.adaserve.load import SEEDS
from figures.adaserve.readings import BY_TOKEN
from figures.adaserve.settings import ADASERVE, DEPLOYMENTS, PAPER, PAPERS, Deployment, adaserve, rivals, workload
from figures.frame import Source
from figures.paper import DOUBLE_IN, error_bars
from figures.reproduction import Band, Expectation, curve_over_seeds
from figures.runner import Runner
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

_PEAK_S = {"chat": 90.0, "coding": 180.0, "summary": 270.0}
_PEAK, _SIGMA_S, _LENGTH_S, _STEP_S = 4.0, 45.0, 360.0, 10.0


class Bursts:
    """Figure 14, on the arrivals of Figure 13."""

    name = "adaserve-bursts"
    title = "AdaServe: attainment when categories peak one after the other"
    source = Source(PAPER, "Figure 14")
    size = (DOUBLE_IN, 2.6)
    systems = PAPERS

    @property
    def caption(self) -> str:
        paper = "Hollow bars: the paper's." if digitised.FILE.is_file() else digitised.ABSENT
        return (
            "Six minutes in which chat, coding and summaries come in Gaussian peaks of 4 requests/s at 1.5, 3 and 4.5 minutes, "
            "each with a standard deviation of 45 s (the paper shows the peaks and gives no width; at twice the width the load "
            f"is twice as high). {BY_TOKEN.sentence} Mean over seeds, bars are its 95 % interval. {paper}"
        )

    @property
    def expected(self) -> Sequence[Expectation]:
        return curves.each(self._rows)

    def _rows(self, deployment: Deployment) -> list[Expectation]:
        paper = {"llama": 83.6, "qwen": 83.0}[deployment.key]
        return [
            Expectation(
                f"{deployment.name}: AdaServe's attainment (%)",
                f"{paper:g}",
                f"{PAPER}, Fig. 14",
                lambda frame: curves.value_at(frame, deployment.key, ADASERVE, "attainment", 0.0, 100.0),
                Band(paper - 5, paper + 5),
                "agrees within 5 points",
            ),
            Expectation(
                f"{deployment.name}: AdaServe's attainment less that of the best of the others (points)",
                "18.0" if deployment.key == "llama" else "9.2",
                f"{PAPER}, Fig. 14",
                lambda frame: self._lead(frame, deployment.key),
                Band(low=0),
                "agrees where AdaServe is ahead",
            ),
        ]

    def _lead(self, frame: DataFrame, model: str) -> Any:
        import pandas as pd

        from figures.reproduction import over_seeds

        values = {system: curves.at(frame, model, system, "attainment", 0.0) for system in self.systems}
        others = pd.DataFrame({system: values[system] for system in self.systems if system != ADASERVE})
        return over_seeds(100 * (values[ADASERVE] - others.max(axis=1)))

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        sets: Sequence[str] = ("duration=6min", "warmup=0s") if not runner.quick else ("duration=1min", "warmup=0s", "drain=20s")
        steps = [_STEP_S * (step + 0.5) for step in range(int(_LENGTH_S / _STEP_S))]
        more = {
            name: {
                "arrivals": {
                    "varying": {
                        "profile": [round(math.exp(-0.5 * ((at - peak_s) / _SIGMA_S) ** 2), 4) for at in steps],
                        "step": _STEP_S * (1 if not runner.quick else 1 / 6),
                    }
                }
            }
            for name, peak_s in _PEAK_S.items()
        }
        total = 3 * _PEAK * _SIGMA_S * math.sqrt(2 * math.pi) / _LENGTH_S
        frames = []
        for deployment in DEPLOYMENTS:
            known = {ADASERVE: adaserve(deployment), **rivals()}
            x = {0.0: workload(deployment, total, urgent=1 / 3, output_tokens=BY_TOKEN.output_tokens, more=more)}
            systems = {name: known[name] for name in self.systems}
            seeds, read = SEEDS[:2] if runner.quick else SEEDS, (*sets, BY_TOKEN.sets(deployment))
            frames.append(curves.swept(runner, deployment, x, systems, seeds, ("attainment",), read))
        return pd.concat(frames, ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        panels = canvas.subplots(1, 2, sharey=True)
        canvas.subplots_adjust(left=0.075, right=0.985, top=0.9, bottom=0.2, wspace=0.06)
        for axes, deployment in zip(panels, DEPLOYMENTS, strict=True):
            mine = frame[frame["model"] == deployment.key]
            for place, system in enumerate(self.systems):
                curve = curve_over_seeds(mine[mine["system"] == system], "x")
                colour = curves.look(system, theme)["color"]
                axes.bar([place - 0.2], 100 * curve["mean"], 0.38, color=colour)
                bars = 100 * error_bars(curve, 0.0, 1.0)
                axes.errorbar([place - 0.2], 100 * curve["mean"], bars, color=theme.ink, linestyle="none", elinewidth=0.8)
                if (paper := digitised.bar("fig14", deployment.name, system)) is not None:
                    axes.bar([place + 0.2], [paper], 0.38, facecolor="none", edgecolor=colour, linewidth=0.9)
            axes.set_xticks(range(len(self.systems)), [name.replace("-S", "-\nS") for name in self.systems])
            axes.tick_params(axis="x", length=0)
            axes.grid(axis="x", visible=False)
            axes.set_ylim(0, 103)
            axes.set_title(deployment.name)
        panels[0].set_ylabel("SLO attainment (%)")
