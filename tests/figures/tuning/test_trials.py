"""Black boxes: what a configuration means, and crashes as results."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from figures.tuning.carry import agreements, candidates, carried
from figures.tuning.isolated import in_own_process
from figures.tuning.knobs import overrides, present, space_of
from figures.tuning.objectives import parse_objectives
from figures.tuning.result import conclude
from figures.tuning.study import Plan, Tuning
from figures.tuning.trials import Outcome, Simulated, measured
from policies.scoot.space import Config
from traces.errors import InputError
from traces.fingerprints import load_fingerprint
from traces.scenario import load_scenario

TEXT = """
model: llama-3.1-8b
fleet: {gpu: l40s, gpus: 2}
engine: {max_model_len: 4096, speculative: {method: ngram, num_speculative_tokens: 3, acceptance: 60%}}
workload: [{name: a, trace: {prompt_tokens: 800, output_tokens: 30}, rate: 30/s, requests: 60, slo: {ttft: 1s}}]
seed: 3
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "scenario.yaml"
    file.write_text(TEXT)
    return file


def test_every_configuration_of_the_space_loads_as_what_it_says_or_is_refused_by_the_engines_rules(path: Path) -> None:
    also = ["num_speculative_tokens", "kv_cache_dtype", "scheduling_policy"]
    space = space_of(load_scenario(path), also=also)
    assert space.default == present(load_scenario(path), also)
    for knob in space.knobs:
        for value in getattr(knob, "values", None) or (knob.low, knob.high):  # type: ignore[union-attr]
            config = space.repaired({**space.default, knob.name: value}, 0.9)
            loaded = load_scenario(path, ["engine.max_model_len=4096", *overrides(config)])
            assert present(loaded, also) == config


def test_the_simulated_world_tells_values_and_crashes_of_the_same_seed_alike(path: Path) -> None:
    space = space_of(load_scenario(path))
    box = Simulated(path, parse_objectives("ttft+tpot"))
    lived = box(space.default, 1)
    assert lived == box(space.default, 1)
    assert lived.values is not None
    assert lived.values != box(space.default, 2).values
    greedy = {**space.default, "gpu_memory_utilization": 0.98, "max_num_batched_tokens": 8192, "max_num_seqs": 1024}
    assert box(greedy, 1).failure.startswith("out of memory")
    refused = {**space.default, "enable_chunked_prefill": False, "max_num_batched_tokens": 512}
    assert box(refused, 1).failure.startswith("start-up refused")


def test_engines_may_have_a_fingerprint_that_was_measured_on_them(path: Path) -> None:
    slow = load_fingerprint("llama-3.1-8b", "a100", 1, "bf16")
    config = space_of(load_scenario(path)).default
    objectives = parse_objectives("tpot")
    quick, measured_slow = (Simulated(path, objectives, (), fingerprint)(config, 1) for fingerprint in (None, slow))
    assert quick.values is not None
    assert measured_slow.values is not None
    assert measured_slow.values != quick.values


def test_latencies_of_a_run_that_left_requests_behind_are_a_time_out_and_throughput_is_not() -> None:
    summary = {"metrics": {"throughput_req_s": 2.0, "ttft_s.mean": 0.1, "tpot_s.mean": 0.01, "requests.unfinished": 4}}
    assert measured(summary, parse_objectives("ttft+tpot")).failure == "time-out: 4 requests did not finish"
    assert measured(summary, parse_objectives("throughput")).values == (2.0,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gooput", "did you mean `goodput`"),
        ("ttft+ttft", "twice"),
        ("ttft+tpot+throughput+goodput", "up to 3"),
        ("ttft+", "there is none"),
    ],
)
def test_objectives_that_make_no_sense_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_objectives(text)


def test_any_metric_can_be_an_objective_and_knows_its_direction() -> None:
    (objective,) = parse_objectives("ttft_s.p99")
    assert not objective.maximise
    assert parse_objectives("attainment")[0].maximise


@pytest.mark.parametrize(
    ("bounds", "also", "said"),
    [
        (["max_num_seqs"], [], "names no bound"),
        (["max_num_seqs=a..b"], [], "cannot be read"),
        (["seqs=1..2"], [], "there is no such knob"),
        ([], ["colour"], "no optional knob"),
    ],
)
def test_bounds_and_knobs_that_make_no_sense_are_one_line(path: Path, bounds: list[str], also: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said) as found:
        space_of(load_scenario(path), bounds=bounds, also=also)
    assert len(found.value.faults) == 1


def _answer(given: int) -> int:
    return 2 * given


def _dies(given: int) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _refuses(given: int) -> None:
    raise InputError("engine: will not start; why")


def _hangs(given: int) -> None:
    time.sleep(given)


def test_a_call_in_its_own_process_answers_dies_refuses_or_hangs_and_this_one_lives() -> None:
    assert in_own_process(_answer, 21, limit_s=60) == (42, "")
    assert in_own_process(_dies, 0, limit_s=60) == (None, "crash: the process died (SIGSEGV)")
    assert in_own_process(_refuses, 0, limit_s=60) == (None, "crash: engine: will not start; why")
    assert in_own_process(_hangs, 600, limit_s=0.3) == (None, "time-out: not done after 0.3 s")


def test_candidates_are_the_default_the_best_and_what_the_surrogate_knows_least_of(path: Path) -> None:
    space = space_of(load_scenario(path))
    objectives = parse_objectives("p95-latency")

    def ours(config: Config, seed: int) -> Outcome:
        return Outcome((1000 / config["max_num_seqs"] + config["block_size"],))

    def theirs(config: Config, seed: int) -> Outcome:
        return Outcome((3000 / config["max_num_seqs"] + config["block_size"],))

    tuning = Tuning(Plan(space, objectives, 14, seed=1), lambda pairs: [ours(*pair) for pair in pairs])
    tuning.run()
    chosen = candidates(conclude(tuning, "simulated", 1), 7)
    assert [why for why, _ in chosen] == ["default", *["best"] * 4, "uncertain", "uncertain"]
    assert all(space.allows(config) for _, config in chosen)
    assert len({str(config) for _, config in chosen}) == 7
    boxes: Any = (ours, theirs)
    (agreement,) = agreements(carried(chosen, *boxes, 1), objectives, 1)
    assert agreement.n == 7
    assert agreement.correlation is not None
    assert agreement.correlation > 0.7
