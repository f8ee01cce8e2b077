"""HyGen by the clock: offline work beside online work on a real vLLM engine, with a budget profiled for this very engine.

    OMP_NUM_THREADS=1 .venv-vllm/bin/python -m benchmarks.colocation [--rounds 3] [--json]

A small model with random weights, in this process on one core: chat at 10 requests/s and a backlog of offline prompts. From a
replay without offline work and one without a budget come HyGen's predictor and a fingerprint with its noise; the simulator profiles
by them the budget that keeps online P99 TBT within the tolerance, and the engine replays it, in turns with replays without offline
work.

The engine is timed by the core that its thread has (``replay.clock: core``), so that neighbours are no part of a step. What they do
to caches and memory is: so runs without offline work are repeated in between, and how far those are apart is the noise band.

Prints for each round the online P99 TBT over that without offline work, with the budget and without one, the noise band, offline
tokens over those of a strict split of time, and the predictor's error (MAPE) on replays that it was not trained on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.priority import ahead_of_others
from figures.hygen.predictor import training_steps
from policies.fingerprint import Fingerprint
from policies.hygen.predictor import Predictor
from policies.latency import StepShape
from replay.profile import fit
from replay.run import replay
from sim.profiling import Objective, grid, profile, simulated
from traces.assembly.library import to_json
from traces.metrics import summarise
from traces.record import Record
from traces.scenario import load_scenario
from traces.scenario.replay import Replay
from traces.tables import floats

BATCH = "{name: batch, trace: {prompt_tokens: 300, output_tokens: 8}, offline: true, backlog: 400}"
SCENARIO = f"""
model: llama-3.1-8b
fleet: {{gpu: h200, gpus: 1}}
engine:
  {{max_num_seqs: 32, max_num_batched_tokens: 256, num_gpu_blocks_override: 300, block_size: 32, max_model_len: 1024,
  enable_prefix_caching: off}}
workload:
  - name: chat
    trace: {{prompt_tokens: {{uniform: {{min: 40, max: 80}}}}, output_tokens: {{uniform: {{min: 30, max: 50}}}}}}
    rate: 10/s
    slo: {{ttft: 1s, tpot: 200ms}}
  - {BATCH}
policy: {{router: least-loaded, batcher: hygen}}
duration: 5s
drain: 0s
replay: {{engines: in-process, shape: small, clock: core, deadline: 10s}}
decisions: full
seed: 3
"""
TOLERANCE = 0.3
P99 = "itl_s.p99"
KNOB = "policy.batcher.hygen.budget_s"
BUDGETS = grid(0.006, 0.06, 1.06)
SEEDS = range(101, 106)

ALONE = ["policy.batcher={hygen: {stage: observe}}"]
UNBOUNDED = ["policy.batcher=sarathi-plus", "duration=3s"]
PURE = [f"workload=[{BATCH}]", "policy.batcher=sarathi", "duration=2s"]
_PART = 4
LONGER = ["duration=15s", "workload.batch.backlog=1000", "extrapolate=true"]


@dataclass(frozen=True)
class Runs:
    """On the real engine: without offline work, with the profiled budget, without a budget, and offline work without any online."""

    alone: Sequence[Record]
    hygen: Sequence[Record]
    unbounded: Record
    pure: Record

    @property
    def learnt_from(self) -> Sequence[Record]:
        """What HyGen was told the engine's step times from."""
        return [self.alone[0], self.unbounded]

    @property
    def held_out(self) -> Sequence[Record]:
        """Later runs of the same load."""
        return [*self.hygen, *self.alone[1:]]

    @property
    def kept(self) -> bool:
        """Whether the budget keeps the tolerance, none does not, and offline work is worth three times slices of time."""
        limit = (1 + TOLERANCE) * self.noise
        return self.slowdown(self.hygen) <= limit < self.slowdown([self.unbounded]) and self.over_slices >= 3

    @property
    def mape(self) -> float:
        """Of the predictor on the steps of the later runs."""
        return learnt(*self.learnt_from).error(*steps_of(*self.held_out))

    @property
    def mape_within(self) -> float:
        """Of one that is fitted to three of four steps of the earlier runs, on each fourth."""
        shapes, seconds = steps_of(*self.learnt_from)
        tried = [number % _PART == 0 for number in range(len(shapes))]
        fitted = Predictor.fit([one for one, out in zip(shapes, tried, strict=True) if not out], seconds[~np.array(tried)])
        return fitted.error(shapes[::_PART], seconds[::_PART])

    @property
    def noise(self) -> float:
        """The largest P99 TBT without offline work over the smallest."""
        found = [p99_gap_s(record) for record in self.alone]
        return max(found) / min(found)

    def slowdown(self, records: Sequence[Record]) -> float:
        """P99 TBT over that without offline work."""
        return _typical_gap_s(records) / _typical_gap_s(self.alone)

    @property
    def over_slices(self) -> float:
        """Offline tokens over those of a strict split of time: offline work in what the engine is idle of online work alone."""
        in_slices = fmean(idle_share(record) for record in self.alone) * offline_tok_s(self.pure)
        return fmean(offline_tok_s(record) for record in self.hygen) / in_slices


def p99_gap_s(record: Record) -> float:
    found = summarise(record).tiers["chat"][P99].value
    assert found is not None
    return found


def _typical_gap_s(records: Sequence[Record]) -> float:
    return math.exp(fmean(math.log(p99_gap_s(record)) for record in records))


def offline_tok_s(record: Record) -> float:
    """Prompts included."""
    found = summarise(record).tiers["batch"]
    return sum(found[name].value or 0.0 for name in ("throughput_tok_s", "throughput_input_tok_s"))


def idle_share(record: Record) -> float:
    """The part of the time in which no online request is there."""
    _, end_s = record.window_s
    idle_s = busy_until_s = 0.0
    for arrival_s, took_s in sorted(
        zip(*(floats(record.requests.filter(pc.field("tier") == "chat"), name) for name in ("arrival_s", "e2e_s")), strict=True)
    ):
        idle_s += max(0.0, arrival_s - busy_until_s)
        busy_until_s = max(busy_until_s, end_s if math.isnan(took_s) else arrival_s + took_s)
    return (idle_s + max(0.0, end_s - busy_until_s)) / end_s


def measure(folder: Path) -> Runs:
    """Learn the engine's step times from a run without offline work and one without a budget, profile in the simulator by them, and
    try the budget, in turns with runs without offline work."""
    path = folder / "scenario.yaml"
    path.write_text(SCENARIO)

    def run(name: str, sets: Sequence[str]) -> Record:
        return replay(load_scenario(path, sets)).write(folder / name)

    run("warm", [*ALONE, "duration=2s"])  # a process's first steps of each size take longer
    alone, unbounded = [run("alone", ALONE)], run("unbounded", UNBOUNDED)
    predictor = learnt(alone[0], unbounded)
    batcher = f"policy.batcher={{hygen: {{spread: 0.6, weights: {json.dumps(predictor.weights)}}}}}"
    fingerprint = folder / "measured.json"
    fingerprint.write_text(to_json(fingerprint_of(path, alone[0], unbounded)))
    sets = [batcher, f"fleet.fingerprint={fingerprint}", *LONGER]
    simulations = simulated(path, KNOB, ALONE, [f"{P99}@chat"], SEEDS, sets=sets, jobs=1)
    found = profile(simulations, BUDGETS, [Objective(f"{P99}@chat", TOLERANCE)])
    assert found.value is not None, "no budget keeps the tolerance in the simulator"
    hygen = []
    for turn in ("1", "2"):
        hygen.append(run(f"hygen{turn}", [batcher, f"{KNOB}={found.value}"]))
        alone.append(run(f"alone{turn}", ALONE))
    return Runs(alone, hygen, unbounded, run("pure", PURE))


def steps_of(*records: Record) -> tuple[list[StepShape], np.ndarray]:
    """What was in the steps of all of them, and their seconds."""
    found = [training_steps(record) for record in records]
    return [shape for shapes, _ in found for shape in shapes], np.concatenate([seconds for _, seconds in found])


def learnt(*records: Record) -> Predictor:
    return Predictor.fit(*steps_of(*records))


def fingerprint_of(path: Path, *records: Record) -> Fingerprint:
    """Of the stand-in that ran, by the name of what it stands for."""
    scenario = load_scenario(path)
    steps = dataclasses.replace(records[0], steps=pa.concat_tables([record.steps for record in records]))
    found = fit(steps, scenario.pools[0], scenario.replay or Replay(), engine="vLLM, CPU", source="steps of two runs")
    return dataclasses.replace(found, model=scenario.model, gpu="h200")


def told(runs: Runs) -> Mapping[str, Any]:
    """One round as numbers; times as ratios."""
    return {
        "slowdown": runs.slowdown(runs.hygen),
        "unbounded": runs.slowdown([runs.unbounded]),
        "noise": runs.noise,
        "over_slices": runs.over_slices,
        "of_pure_offline": fmean(offline_tok_s(record) for record in runs.hygen) / offline_tok_s(runs.pure),
        "mape": runs.mape,
        "mape_within": runs.mape_within,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=1, help="all of it, so many times")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    rounds = []
    with ahead_of_others():
        for _ in range(given.rounds):
            with tempfile.TemporaryDirectory() as folder:
                rounds.append(told(measure(Path(folder))))
    if given.json:
        print(json.dumps(rounds, indent=1))
        return
    print(f"P99 TBT over online alone; to be kept: {1 + TOLERANCE:g} x the noise band.")
    print("MAPE in %: on later runs, and on steps left out of the runs that it is learnt from.")
    print("budget  no budget  noise band  over slices  of pure offline  MAPE later  left out")
    for row in rounds:
        print(
            f"{row['slowdown']:6.2f}  {row['unbounded']:9.2f}  {row['noise']:10.2f}  {row['over_slices']:11.1f}  "
            f"{row['of_pure_offline']:15.2f}  {100 * row['mape']:10.1f}  {100 * row['mape_within']:8.1f}"
        )


if __name__ == "__main__":
    main()
