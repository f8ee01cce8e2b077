"""Speculation beside HyGen's offline fill and under PolyServe's router: whether together they do better than each alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from figures.adaserve import curves
from figures.adaserve.settings import ADASERVE, LLAMA, adaserve, workload
from figures.frame import Source
from figures.paper import DOUBLE_IN, error_bars
from figures.reproduction import Band, Expectation, Measured, over_seeds
from figures.runner import Runner, Sweep
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame, Series

SEEDS = tuple(range(5, 15))
"""Seeds 1 to 4 were looked at when arms, rates, objectives and budgets were chosen."""
RATES = (4.0, 8.0)
TTFT_S = 1.0
PLAIN, HYGEN, IN_TIME = "online alone", "HyGen", "AdaServe, TTFT-aware"
BOTH, BOTH_IN_TIME, TIERED = "both", "both, TTFT-aware", "both, TTFT-aware, PolyServe's router"
ATTAINMENT = "attainment"
OFFLINE = ("throughput_tok_s@batch", "throughput_input_tok_s@batch")
OURS = "ours: no paper has it"
_ALONE_S = ("0.04", "0.0425", "0.045", "0.05")
_DRAFTING_S = ("0.15", "0.2", "0.25", "0.3")
_OFFLINE = {
    "name": "batch",
    "trace": {"prompt_tokens": {"lognormal": {"mean": 512, "sigma": 0.5, "min": 64, "max": 2048}}, "output_tokens": 128},
    "offline": True,
    "backlog": 600,
}
_SETS = ("fleet.gpus=8", "engine.max_num_seqs=128", "duration=25s", "warmup=5s", "drain=10s")


def arms() -> Mapping[str, Mapping[str, dict[str, Any]]]:
    """Arm → HyGen's latency budget → policy; an arm without offline work has the one budget ""."""
    drafts, in_time = (adaserve(LLAMA, **rules)["speculator"] for rules in ({}, {"prompts": "in-time"}))

    def policy(batcher: Any, speculator: Any, router: str = "least-loaded") -> dict[str, Any]:
        return {"router": router, "batcher": batcher, "speculator": speculator}

    def filled(speculator: Any, budgets: Sequence[str], router: str = "least-loaded") -> dict[str, dict[str, Any]]:
        return {
            budget: policy({"hygen": {"chunk_tokens": 1024, "budget_s": float(budget), "spread": 0}}, speculator, router)
            for budget in budgets
        }

    shared = {"sarathi": {"chunk_tokens": 1024}}
    return {
        PLAIN: {"": policy(shared, "none")},
        HYGEN: filled("none", _ALONE_S),
        ADASERVE: {"": policy(shared, drafts)},
        IN_TIME: {"": policy(shared, in_time)},
        BOTH: filled(drafts, _DRAFTING_S),
        BOTH_IN_TIME: filled(in_time, _DRAFTING_S),
        TIERED: filled(in_time, _DRAFTING_S, "polyserve-hygen"),
    }


def _requests(rate: float) -> list[dict[str, Any]]:
    online: list[dict[str, Any]] = json.loads(workload(LLAMA, rate))
    return [{**entry, "slo": {**entry["slo"], "ttft": TTFT_S}} for entry in online]


class Combined:
    """Offline tokens against online attainment, of each system alone and of them together."""

    name = "adaserve-combined"
    title = "AdaServe beside HyGen's offline fill, with and without PolyServe's router"
    source = Source(OURS)
    size = (DOUBLE_IN, 3.2)
    caption = (
        "Two engines of Llama-3.1-70B as in AdaServe's artifact; 60 % coding (36 ms per token), 20 % chat (50 ms), 20 % summaries "
        "(150 ms), all with a first token within 1 s, and a backlog of offline requests (512 prompt tokens in the mean, 128 output "
        "tokens). Steps of 1,024 tokens at most, 128 seats. Each line is an arm over four of HyGen's latency budgets (40, 42.5, 45 "
        "and 50 ms without drafts, 150, 200, 250 and 300 ms with them); arms without offline work lie at 0. Offline tokens: prompt "
        "and output. Ten seeds of 25 s, the same requests in all arms; means, bars are the 95 % interval. HyGen counts draft "
        "tokens in its budget, and what drafting them lately took; its watch for drift is off, as its line cannot follow the bend "
        "of step times where nobody drafts, and HyGen alone would do less with it on. TTFT-aware: prompts come before the "
        "throughput phase as far as first tokens within 1 s take it. PolyServe's router sees online requests alone, by their TPOT "
        "objectives; elsewhere the least loaded engine is taken. In the table each arm has, seed by seed, the offline tokens of "
        "the budget that gives most of them at no less attainment than the arm it is held against (none: 0). Rates, objectives and "
        "budgets were chosen after single runs had been looked at; what is expected was fixed before. A first table, of four other "
        "seeds and three budgets each, could not tell two of the questions: these ten seeds are new, each arm has one more budget, "
        "and a pass of the drafter takes 5 ms for 3.5."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        rows = []
        for rate in RATES:
            rows += [
                self._gain(rate, BOTH, HYGEN, PLAIN),
                Expectation(
                    f"{rate:g} req/s: offline tokens/s of both at no less attainment than AdaServe alone",
                    "> 0: offline work comes on top",
                    OURS,
                    lambda frame, rate=rate: over_seeds(_most(frame, rate, BOTH, ADASERVE)),  # type: ignore[misc]
                    Band(low=1),
                ),
                Expectation(
                    f"{rate:g} req/s: attainment of AdaServe, TTFT-aware less not (points)",
                    "≥ 0",
                    OURS,
                    lambda frame, rate=rate: over_seeds(  # type: ignore[misc]
                        100 * (_value(frame, rate, IN_TIME, ATTAINMENT) - _value(frame, rate, ADASERVE, ATTAINMENT))
                    ),
                    Band(low=0),
                ),
                self._gain(rate, BOTH_IN_TIME, BOTH, ADASERVE),
                self._gain(rate, TIERED, BOTH_IN_TIME, ADASERVE),
            ]
        return rows

    @staticmethod
    def _gain(rate: float, one: str, other: str, reference: str) -> Expectation:
        def measured(frame: DataFrame) -> Measured:
            return over_seeds(_most(frame, rate, one, reference) - _most(frame, rate, other, reference))

        return Expectation(
            f"{rate:g} req/s: offline tokens/s of {one} less {other}, at no less attainment than {reference}",
            "≥ 0: not worse",
            OURS,
            measured,
            Band(low=0),
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        seeds = SEEDS[:2] if runner.quick else SEEDS
        named = {json.dumps(policy): (arm, budget) for arm, budgets in arms().items() for budget, policy in budgets.items()}
        frames = []
        for offline in (False, True):
            mine = [policy for policy, (_, budget) in named.items() if bool(budget) == offline]
            mixes = {json.dumps(_requests(rate) + [_OFFLINE] * offline): rate for rate in RATES}
            metrics = (ATTAINMENT, *OFFLINE) if offline else (ATTAINMENT,)
            sweep = Sweep(LLAMA.scenario, {"workload": list(mixes), "policy": mine}, seeds, metrics, _SETS)
            frame = runner.sweep(sweep)
            frames.append(frame.assign(rate=frame["workload"].map(mixes)))
        frame = pd.concat(frames, ignore_index=True)
        arm, budget = zip(*frame["policy"].map(named), strict=True)
        return frame.assign(arm=arm, budget=budget).drop(columns=["workload", "policy"])

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        panels = canvas.subplots(1, 2, sharey=True)
        canvas.subplots_adjust(left=0.095, right=0.985, top=0.8, bottom=0.14, wspace=0.06)
        least = frame.loc[frame["metric"] == ATTAINMENT, "value"].min()
        for axes, rate in zip(panels, RATES, strict=True):
            for index, (arm, budgets) in enumerate(arms().items()):
                attained = _curve(100 * _value(frame, rate, arm, ATTAINMENT, budget) for budget in budgets)
                offline = _curve(_offline(frame, rate, arm, budget) / 1e3 for budget in budgets)
                axes.errorbar(
                    attained["mean"],
                    offline["mean"],
                    xerr=error_bars(attained, 0.0, 100.0),
                    yerr=error_bars(offline, 0.0, float("inf")),
                    elinewidth=0.5,
                    label=arm,
                    clip_on=False,
                    **curves.look_of(index, theme),
                )
            axes.set_xlim(100 * least - 4, 101)
            axes.set_ylim(0, None)
            axes.set_title(f"{rate:g} requests/s")
            axes.set_xlabel("online SLO attainment (%)")
        panels[0].set_ylabel("offline tokens (1,000/s)")
        handles, names = panels[0].get_legend_handles_labels()
        canvas.legend(handles, names, loc="upper center", ncols=4, fontsize=7, handlelength=2.2, columnspacing=1.2)


def _curve(points: Iterable[Series[Any]]) -> DataFrame:
    """``mean``, ``lo``, ``hi`` of every point, of one value per seed each."""
    import pandas as pd

    found = [over_seeds(values) for values in points]
    return pd.DataFrame([(m.value, m.lo, m.hi) for m in found], columns=["mean", "lo", "hi"], dtype=float)


def _value(frame: DataFrame, rate: float, arm: str, metric: str, budget: str = "") -> Series[Any]:
    """One value per seed."""
    rows = frame[(frame["rate"] == rate) & (frame["arm"] == arm) & (frame["budget"] == budget) & (frame["metric"] == metric)]
    return rows.set_index("seed")["value"]


def _offline(frame: DataFrame, rate: float, arm: str, budget: str) -> Series[Any]:
    """Prompt and output tokens per second of offline requests, one value per seed."""
    if not budget:
        return 0.0 * _value(frame, rate, arm, ATTAINMENT)
    output, prompt = (_value(frame, rate, arm, metric, budget) for metric in OFFLINE)
    return output + prompt


def _most(frame: DataFrame, rate: float, arm: str, reference: str) -> Series[Any]:
    """The most offline tokens per second, over an arm's budgets, at no less attainment than the reference; seed by seed."""
    import pandas as pd

    least = _value(frame, rate, reference, ATTAINMENT)
    found = {
        budget: _offline(frame, rate, arm, budget).where(_value(frame, rate, arm, ATTAINMENT, budget) >= least, 0.0)
        for budget in arms()[arm]
    }
    return pd.DataFrame(found).max(axis=1)
