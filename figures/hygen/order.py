"""In which order offline work is taken, and how it fills the valleys of online load: the paper's Figures 6 and 8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.frame import SCENARIOS, Source
from figures.hygen import PAPER
from figures.hygen.cells import FEW, HYGEN, MANY, OFFLINE, Cells, Setting, values
from figures.hygen.drawing import draw_points, look, thousands
from figures.paper import DOUBLE_IN
from figures.reproduction import Band, Expectation, Measured, over_seeds, ratio_over_seeds
from figures.runner import Runner
from figures.style import Theme

if TYPE_CHECKING:
    from pandas import DataFrame

SHARING = {"first come, first served": 0.0, "half and half": 0.5, "shared prefixes first": 1.0}
PREFIXES = Setting(
    "shared prefixes",
    (
        "model=llama-3.1-8b",
        "fleet.gpu=h200",
        "engine={max_model_len: 32768, num_gpu_blocks_override: 12000, max_num_seqs: 256, max_num_batched_tokens: 2048}",
        "workload=[{name: chat, trace: azure-2023-conv, rate: 2/s, arrivals: {poisson: {}}, slo: {ttft: 2s, tpot: 100ms}}, "
        "{name: batch, trace: mooncake-conversation, offline: true, backlog: 1500, truncate: true}]",
        "policy.router=least-loaded",
    ),
)
BUDGET_S = 0.04
_BIN_S = 10.0
_WAVES = "workload.chat.arrivals={varying: {profile: [0.4, 1.6], step: 25s}}"


class Order:
    """Offline throughput by order of picks, and online load and offline work over time."""

    name = "hygen-order"
    title = "HyGen: the order of offline work, and offline work over time"
    source = Source(PAPER, "Figures 6 and 8")
    size = (DOUBLE_IN, 2.6)
    caption = (
        "Left: offline tokens per second, prompts included, by the share of picks that follow shared prefixes, with prefix "
        "caching; the backlog is 1,500 prompts of the Mooncake conversation trace's lengths and sharing; bars are 95 % intervals "
        f"over seeds. Right: one run, in bins of {_BIN_S:g} s: online and offline tokens computed per second."
    )

    @property
    def expected(self) -> Sequence[Expectation]:
        return (
            Expectation(
                "offline throughput, shared prefixes first over first come, first served",
                "up to 4 (MMLU, simulated)",
                f"{PAPER}, Fig. 6",
                lambda frame: ratio_over_seeds(_by(frame, 1.0), _by(frame, 0.0)),
                Band(low=1.0),
                "agrees above 1: MMLU's prompts share far more than conversations do",
            ),
            Expectation(
                "correlation of online and offline tokens per second over bins",
                "anti-correlated",
                f"{PAPER}, Fig. 8",
                _correlation,
                Band(high=0.0),
            ),
        )

    def data(self, runner: Runner) -> DataFrame:
        import pandas as pd

        cells = Cells(runner, PREFIXES)
        frames = []
        for name, sharing in SHARING.items():
            batcher = PREFIXES.batcher("hygen", budget_s=BUDGET_S, sharing=sharing)
            shown = cells.measured(batcher, MANY.shown)
            frames.append(shown.assign(setting=PREFIXES.name, policy=HYGEN, order=name, sharing=sharing))
        frames += map(_over_time, FEW.shown[:2] if runner.quick else FEW.shown)
        told = "Right: hygen.yaml for 150 s, the online rate at 0.4 and 1.6 times its mean in turns of 25 s, budget 25 ms."
        runner.rest_on(told, FEW.shown)
        return pd.concat(frames, ignore_index=True)

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        left, right = canvas.subplots(1, 2, width_ratios=(1, 1.7))
        canvas.subplots_adjust(left=0.075, right=0.985, top=0.94, bottom=0.17, wspace=0.22)
        found = [thousands(over_seeds(_by(frame, sharing))) for sharing in SHARING.values()]
        draw_points(left, list(SHARING.values()), found, look(HYGEN, theme), HYGEN)
        left.set_xlabel("share of picks by shared prefix")
        left.set_ylabel("offline (1,000 tokens/s)")
        left.set_xticks(list(SHARING.values()))
        left.set_ylim(0, None)
        rows = frame[(frame["metric"] == "tokens_s") & (frame["seed"] == FEW.shown[0])]
        for index, tier in enumerate(("online", "offline")):
            mine = rows[rows["tier"] == tier]
            style = look((HYGEN, "HyGen*")[index], theme)
            right.plot(mine["time_s"], mine["value"] / 1e3, label=tier, color=style["color"], linestyle=("-", (0, (4, 1.5)))[index])
        right.set_xlabel("time (s)")
        right.set_ylabel("1,000 tokens/s")
        right.set_ylim(0, None)
        right.legend(frameon=False, fontsize=7, loc="upper right", ncols=2)


def _by(frame: DataFrame, sharing: float) -> Any:
    return values(frame, HYGEN, OFFLINE, sharing=sharing)


def _over_time(seed: int) -> DataFrame:
    """Tokens per second by tier: a prompt's from first scheduled to first token, its answer's until the last."""
    import pandas as pd

    from sim.run import simulate
    from traces.scenario import load_scenario
    from traces.slices import Slices

    sets = (_WAVES, "policy.batcher={hygen: {chunk_tokens: 1024, budget_s: 0.025}}", f"seed={seed}")
    record = simulate(load_scenario(SCENARIOS / "hygen.yaml", sets))
    rows = record.requests.to_pandas()
    rows = rows[rows["output_tokens"] > 0]
    first, last = rows["ttft_s"], rows["e2e_s"].fillna(record.manifest["end_s"] - rows["arrival_s"])
    bins = Slices(0.0, 150.0, int(150 / _BIN_S))
    found = []
    for tier, name in (("chat", "online"), ("batch", "offline")):
        mine = (rows["tier"] == tier).to_numpy()
        begun, answered, ended = ((rows["arrival_s"] + waited)[mine].to_numpy() for waited in (rows["queue_s"], first, last))
        flowed = bins.flowed(begun, answered, rows["prompt_tokens"][mine].to_numpy(float) / np.maximum(answered - begun, 1e-6))
        spent = np.maximum(ended - answered, 1e-6)
        flowed = flowed + bins.flowed(answered, answered + spent, rows["output_tokens"][mine].to_numpy(float) / spent)
        for at, tokens in enumerate(np.asarray(flowed) / _BIN_S):
            middle = (at + 0.5) * _BIN_S
            found.append({"seed": seed, "metric": "tokens_s", "value": float(tokens), "tier": name, "time_s": middle})
    return pd.DataFrame(found)


def _correlation(frame: DataFrame) -> Measured:
    import pandas as pd

    rows = frame[frame["metric"] == "tokens_s"]
    found = {}
    for seed, mine in rows.groupby("seed"):
        table = mine.pivot_table(index="time_s", columns="tier", values="value").iloc[1:-1]
        found[seed] = float(np.corrcoef(table["online"], table["offline"])[0, 1])
    return over_seeds(pd.Series(found))
