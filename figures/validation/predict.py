"""Simulates measured rows and tells what their clients would have seen.

An engine with asynchronous scheduling has planned one more step when a request arrives, which therefore begins a step later.
``engine.async_scheduling`` simulates that, without leaps and twenty times slower; here it is one mean step, TPOT, on top of TTFT.
A test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from figures.validation.measured import Measured, Replay
from figures.validation.scenarios import fingerprint_of, scenarios
from policies.fingerprint import Fingerprint
from traces.corrections import System
from traces.errors import InputError
from traces.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a row's client would have seen, in seconds. ``running``: requests on the engine, averaged over the run.

    ``refused``: why the simulator would not run the row; the numbers are then NaN. ``requests``: of a replay, one row per request
    in the order of arrival, ``ttft_s`` and ``tpot_s``; else ``None``.
    """

    ttft_s: float
    tpot_s: float
    running: float
    preempted: int
    refused: str | None = None
    requests: pd.DataFrame | None = None


Task = tuple[Measured, System | None]
"""A row, and the system whose correction its prediction has; ``None``: as assembled."""


def predict_all(
    tasks: Sequence[Task], *, seed: int = 0, jobs: int | None = None, watch: Callable[[int, int], None] | None = None
) -> list[Predicted]:
    """One prediction per task, in their order. ``watch``: told how many of how many are done.

    Raises:
        InputError: a worker died.
    """
    from sim.backends import run_all, workers

    found: dict[int, Predicted] = {}
    for index, predicted in run_all(partial(_predict_task, seed=seed), tasks, jobs=workers("loky", jobs, len(tasks))):
        found[index] = predicted
        if watch is not None:
            watch(len(found), len(tasks))
    return [found[index] for index in range(len(tasks))]


def _predict_task(task: Task, seed: int) -> Predicted:
    return predict(*task, seed=seed)


def predict(row: Measured, system: System | None = None, seed: int = 0) -> Predicted:
    """Simulate one row. Mean or median over requests as the row has it; the mean where its source does not say."""
    import pandas as pd

    try:
        with TemporaryDirectory() as folder:
            fingerprint, front = fingerprint_of(row), None
            if system is not None:
                fingerprint, front = system.applied(fingerprint), (system.frontend_s, system.frontend_per_token_s)
            runs = [_requests(scenario, fingerprint) for scenario in scenarios(row, Path(folder), seed, front)]
    except InputError as error:
        return Predicted(float("nan"), float("nan"), float("nan"), 0, refused=str(error))
    requests = pd.concat([run for run, _ in runs])
    if row.async_scheduling:
        requests["ttft_s"] += requests["tpot_s"].mean()
    pick = requests.median() if row.statistic == "median" else requests.mean()
    return Predicted(
        float(pick["ttft_s"]),
        float(pick["tpot_s"]),
        running=sum(running for _, running in runs) / len(runs),
        preempted=int(requests["preemptions"].sum()),
        requests=requests[["ttft_s", "tpot_s"]] if isinstance(row.load, Replay) else None,
    )


def _requests(scenario: Scenario, fingerprint: Fingerprint) -> tuple[pd.DataFrame, float]:
    """A run's requests after its warm-up, and how many were on the engine on average (Little's law)."""
    from sim.run import simulate

    columns = ["arrival_s", "queue_s", "ttft_s", "tpot_s", "e2e_s", "preemptions"]
    table = simulate(scenario, fingerprints=[fingerprint]).requests.select(columns).to_pandas()
    table = table[table["arrival_s"] >= scenario.warmup_s]
    span = (table["arrival_s"] + table["e2e_s"]).max() - table["arrival_s"].min()
    return table, float((table["e2e_s"] - table["queue_s"]).sum() / span)
