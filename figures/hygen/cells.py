"""Cells: an objective in a setting, HyGen's budget profiled for it, and what comes of it on arrivals that no profile has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from figures.frame import SCENARIOS
from figures.reproduction import Measured, ratio_over_seeds
from figures.runner import Runner, Sweep
from sim.profiling import Measure, Objective, Profile, grid, profile

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Panel:
    """Seeds that a profile runs over, and those that everything shown runs over."""

    profiled: tuple[int, ...]
    shown: tuple[int, ...]


FEW = Panel((1, 2, 3, 4), (11, 12, 13, 14))
MANY = Panel((*FEW.profiled, *range(21, 29)), (*FEW.shown, *range(31, 39)))
"""For P99 TTFT: a run has some 200 online requests, so that its P99 is the second slowest of them."""
MOST = Panel((*MANY.profiled, *range(41, 53)), (*MANY.shown, *range(71, 83)))
"""For P99 TTFT alone at tolerances up to ``TIGHT``: half of the interval over ``MANY`` seeds is nearly as wide as those."""
TIGHT = 0.1
LATENCIES: Mapping[str, str] = {
    "itl_s.mean@chat": "mean TBT",
    "itl_s.p99@chat": "P99 TBT",
    "ttft_s.mean@chat": "mean TTFT",
    "ttft_s.p99@chat": "P99 TTFT",
}
_TOKENS = ("throughput_tok_s", "throughput_input_tok_s")
TAIL = "ttft_s.p99@chat"
OFFLINE, TOTAL = "offline_tok_s", "total_tok_s"
METRICS = (*LATENCIES, *(f"{name}@batch" for name in _TOKENS), *_TOKENS)

HYGEN, STAR, PLUS, ALONE, NAIVE, PURE = "HyGen", "HyGen*", "Sarathi++", "Sarathi", "HyGen, not profiled", "Sarathi-offline"
CONSERVE = "ConServe-like"


@dataclass(frozen=True)
class Setting:
    """A deployment and its workloads. ``sets``: overrides of ``hygen.yaml``; ``budgets``, ``rates``: where the profiles look."""

    name: str
    sets: Sequence[str] = ()
    chunk: int = 1024
    budgets: Sequence[float] = grid(0.010, 0.110, 1.08)
    rates: Sequence[float] = grid(0.02, 3.0, 1.17)
    options: str = ""
    """More parameters of HyGen's, as YAML."""

    def batcher(self, name: str, **given: Any) -> str:
        words = ", ".join([f"chunk_tokens: {self.chunk}", *(f"{key}: {value}" for key, value in given.items())])
        more = f", {self.options}" if self.options and name == "hygen" else ""
        return f"{{{name}: {{{words}{more}}}}}"


@dataclass
class Cells:
    """The cells of one setting. Runs are shared between cells, and kept by the runner's cache."""

    runner: Runner
    setting: Setting
    _seen: dict[tuple[str, Sequence[int]], DataFrame] = field(default_factory=dict)
    _probed: dict[tuple[str, Sequence[int]], set[float]] = field(default_factory=dict)
    """Values of the knobs that searches have tried so far, by policy and seeds."""

    def measured(self, batcher: str, seeds: Sequence[int] = FEW.shown) -> DataFrame:
        """``METRICS``, and offline and total tokens, prompts included, per second: a row per seed and metric."""
        import pandas as pd

        if (batcher, seeds) not in self._seen:
            asked = Sweep(SCENARIOS / "hygen.yaml", {"policy.batcher": [batcher]}, seeds, METRICS, tuple(self.setting.sets))
            frame = self.runner.sweep(asked).drop(columns="policy.batcher")
            sums = []
            for name, tier in ((OFFLINE, "@batch"), (TOTAL, "")):
                parts = frame[frame["metric"].isin([part + tier for part in _TOKENS])]
                summed = parts.groupby("seed", as_index=False)[["value"]].sum().assign(metric=name, n=1)
                sums.append(summed)
            self._seen[batcher, seeds] = pd.concat([frame, *sums], ignore_index=True)
        return self._seen[batcher, seeds]

    def measure(self, name: str, knob: str, seeds: Sequence[int] = FEW.profiled) -> Measure:
        def of(value: float | None) -> Mapping[str, Sequence[float]]:
            batcher = self.alone if value is None else self.setting.batcher(name, **{knob: value})
            frame = self.measured(batcher, seeds)
            return {metric: list(frame[frame["metric"] == metric].sort_values("seed")["value"]) for metric in LATENCIES}

        return of

    def _highest(self, name: str, knob: str, values: Sequence[float], objectives: Sequence[Objective]) -> Profile:
        """A search for a knob's value. It begins with what earlier ones have tried on the same seeds."""
        seeds = panel(objectives).profiled
        probed = self._probed.setdefault((name, seeds), set())
        found = profile(self.measure(name, knob, seeds), values, objectives, probed)
        probed |= found.loads.keys()
        return found

    @property
    def alone(self) -> str:
        """Online work alone: HyGen that only observes schedules as Sarathi does."""
        return self.setting.batcher("hygen", stage="observe")

    def profiled(self, objectives: Sequence[Objective]) -> Profile:
        """HyGen's budget."""
        return self._highest("hygen", "budget_s", self.setting.budgets, objectives)

    def profiled_rate(self, objectives: Sequence[Objective]) -> Profile:
        """HyGen*'s constant rate of offline requests."""
        return self._highest("hygen-star", "rate", self.setting.rates, objectives)

    def arm(self, policy: str, batcher: str, objectives: Sequence[Objective] = (), **told: Any) -> DataFrame:
        """What is measured of an arm, labelled; on the seeds that show the objectives."""
        return self.measured(batcher, panel(objectives).shown).assign(setting=self.setting.name, policy=policy, **told)

    def online_alone(self, seeds: Sequence[int] = FEW.shown) -> DataFrame:
        """What all others are held against."""
        return self.measured(self.alone, seeds).assign(setting=self.setting.name, policy=ALONE)

    def hygen(self, objectives: Sequence[Objective], **told: Any) -> DataFrame:
        """The cell of these objectives; where no budget keeps them, offline work is off."""
        found = self.profiled(objectives).value
        batcher = self.alone if found is None else self.setting.batcher("hygen", budget_s=found)
        return self.arm(HYGEN, batcher, objectives, knob=found or 0.0, **told)

    def star(self, objectives: Sequence[Objective], **told: Any) -> DataFrame:
        found = self.profiled_rate(objectives).value
        batcher = self.alone if found is None else self.setting.batcher("hygen-star", rate=found)
        return self.arm(STAR, batcher, objectives, knob=found or 0.0, **told)


def panel(objectives: Sequence[Objective]) -> Panel:
    """The seeds that these objectives take."""
    if not any(objective.metric == TAIL for objective in objectives):
        return FEW
    tight = [objective.tolerance is not None and objective.tolerance <= TIGHT for objective in objectives]
    return MOST if tight == [True] else MANY


def values(frame: DataFrame, policy: str, metric: str, **where: Any) -> Any:
    """One value per seed."""
    rows = frame[(frame["policy"] == policy) & (frame["metric"] == metric)]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows.drop_duplicates("seed").set_index("seed")["value"]


def slowdown(frame: DataFrame, policy: str, metric: str, setting: str, **where: Any) -> Measured:
    """A latency relative to that without offline work."""
    return ratio_over_seeds(values(frame, policy, metric, setting=setting, **where), values(frame, ALONE, metric, setting=setting))


def cells_of(frame: DataFrame, policy: str) -> list[tuple[str, str, float]]:
    """(setting, metric, tolerance) of a policy's cells."""
    rows = frame[(frame["policy"] == policy) & frame["objective"].isin(list(LATENCIES))]
    return list(rows[["setting", "objective", "tolerance"]].drop_duplicates().itertuples(index=False, name=None))


def share_within(frame: DataFrame, policy: str, *, surely_beyond: bool = False) -> Measured:
    """The share of a policy's cells in which the SLO holds, upper end of the interval included; or in which it surely does not."""
    found, named = [], []
    for setting, metric, tolerance in cells_of(frame, policy):
        ratio = slowdown(frame, policy, metric, setting, objective=metric, tolerance=tolerance)
        limit = 1 + tolerance
        within = ratio.hi is not None and ratio.hi <= limit
        beyond = ratio.lo is not None and ratio.lo > limit
        found.append(beyond if surely_beyond else within)
        if not (within or surely_beyond):
            named.append(f"{setting}, {LATENCIES[metric]} {100 * tolerance:g} %: {ratio.text()}")
    share = sum(found) / len(found) if found else None
    note = f"{sum(found)} of {len(found)} cells" + (f"; not in {'; '.join(named)}" if named else "")
    return Measured(share, share, share, len(FEW.shown), note)
