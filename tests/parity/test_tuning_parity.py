"""A study of real vLLM engines, restarted for every trial, in a part of whose space engines cannot start."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from figures.tuning.knobs import space_of
from figures.tuning.objectives import parse_objectives
from figures.tuning.result import conclude
from figures.tuning.study import DEFAULT, Plan, Tuning
from figures.tuning.trials import Outcome, Real
from policies.scoot.space import Config
from tests.parity.replaying import IN_PROCESS
from traces.scenario import load_scenario

TRIALS = 7
CLOSED_LOOP = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
engine: {max_num_seqs: 8, max_num_batched_tokens: 128, num_gpu_blocks_override: 40, block_size: 32, max_model_len: 512}
workload:
  - name: chat
    trace: {prompt_tokens: {uniform: {min: 20, max: 250}}, output_tokens: {uniform: {min: 4, max: 16}}}
    load: {concurrency: 6}
    requests: 16
replay: {engines: in-process, shape: tiny, deadline: 10s}
seed: 3
"""


@dataclass(frozen=True, slots=True)
class Seeded(Real):
    """Engines with blocks of 64 tokens get a single block of KV memory, with which vLLM refuses to start."""

    def __call__(self, config: Config, seed: int) -> Outcome:
        if config["block_size"] == 64:
            starved = dataclasses.replace(self, sets=(*self.sets, "engine.num_gpu_blocks_override=1"))
            return Real.__call__(starved, config, seed)
        return Real.__call__(self, config, seed)


def test_a_study_of_real_engines_takes_crashes_as_results_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(CLOSED_LOOP)
    objectives = parse_objectives("p95-latency")
    space = space_of(load_scenario(path), on_cpu=True, bounds=["max_num_seqs=4..64", "max_num_batched_tokens=128..1024"])
    box = Seeded(path, objectives, limit_s=120)

    def study(trials: int) -> Tuning:
        plan = Plan(space, objectives, trials, "scoot", seed=3)
        return Tuning(plan, lambda pairs: [box(*pair) for pair in pairs], tmp_path / "study.db")

    study(3).run()
    resumed = study(TRIALS)
    trials = resumed.run()

    assert resumed.resumed == 3
    assert [trial.number for trial in trials] == list(range(TRIALS))
    starved = [trial for trial in trials if trial.config["block_size"] == 64]
    lived = [trial for trial in trials if trial.config["block_size"] != 64]
    assert starved, "the design reaches the part of the space that crashes"
    assert all(trial.values is None and trial.failure.startswith("crash") for trial in starved)
    assert all(trial.values is not None and trial.values[0] > 0 for trial in lived), [trial.failure for trial in lived]
    assert trials[DEFAULT].config == dict(space.default)
    result = conclude(resumed, "real", 1)
    assert result.worst(result.tested)[0] is not None


def test_a_trial_that_takes_too_long_is_a_result(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(IN_PROCESS)
    box = Real(path, parse_objectives("throughput"), limit_s=0.5)
    outcome = box(space_of(load_scenario(path), on_cpu=True).default, 1)
    assert outcome.values is None
    assert outcome.failure.startswith("time-out")
