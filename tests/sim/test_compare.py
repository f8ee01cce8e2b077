"""Common random numbers: both arms of a comparison serve the same requests under the same noise, whatever else they differ in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks import pairing
from benchmarks.fleets import CHAT, loaded
from policies.fingerprint import Fingerprint
from policies.latency import FingerprintLatency, StepShape
from sim.compare import Arm, arms, experiment
from sim.run import simulate
from traces.compare import Finding
from traces.controls import Controls
from traces.errors import InputError
from traces.fingerprints import load_fingerprint
from traces.intervals import Floats
from traces.paired import ENOUGH_SEEDS, Contrast, pool
from traces.record import Record
from traces.scenario import load_scenario
from traces.tables import floats

SMALL = replace(CHAT, gpus="{gpu: h200, gpus: 4}", rate_per_s=60.0, window_s=20.0, warmup_s=0.0).text + "seed: 3\n"
CHANGES = {
    "another router": ("policy.router=power-of-two",),
    "another batcher": ("policy.batcher=sarathi",),
    "another fleet": ("fleet.gpus=6",),
    "other engine knobs": ("engine.max_num_seqs=16", "engine.max_num_batched_tokens=1024"),
    "another objective": ("workload.load.slo_mix.0.slo.ttft=100ms",),
    "another entry beside it": ("workload.1={name: bulk, trace: {prompt_tokens: 500, output_tokens: 50}, rate: 5/s}",),
}


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@cache
def played(*sets: str) -> Record:
    return simulate(loaded(SMALL, 3, *sets))


def load(record: Record) -> dict[str, list[object]]:
    """What arrives for the entry `load`, in its order."""
    rows = [i for i, name in enumerate(record.requests.column("class").to_pylist()) if name.startswith("load")]
    names = ("class", "tier", "arrival_s", "prompt_tokens", "output_tokens")
    return {name: record.requests.column(name).take(rows).to_pylist() for name in names}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_arrivals_lengths_and_mix_stay_the_same_under(change: str) -> None:
    if change == "another entry beside it":
        text = SMALL.replace("policy:", "  - {name: bulk, trace: {prompt_tokens: 500, output_tokens: 50}, rate: 5/s}\npolicy:")
        other = simulate(loaded(text, 3))
        assert other.requests.num_rows > played().requests.num_rows
    else:
        other = played(*CHANGES[change])
    assert load(played()) == load(other)


@pytest.mark.parametrize("change", ["another router", "another batcher", "another fleet", "other engine knobs"])
def test_the_kth_step_of_an_engine_draws_the_same_noise_under(change: str) -> None:
    steady = ("sim.leap=off", "sim.noise=0.1")
    one, other = noise_factors(played(*steady)), noise_factors(played(*steady, *CHANGES[change]))
    common = one.keys() & other.keys()
    assert len(common) > 1000
    assert np.std([one[key] for key in common]) == pytest.approx(0.1, abs=0.02)
    np.testing.assert_allclose([one[key] for key in common], [other[key] for key in common], rtol=1e-6)


def noise_factors(record: Record) -> dict[tuple[str, int], float]:
    """(engine, step) → how much longer the step took than its mean."""
    belief = FingerprintLatency(fingerprint())
    steps = record.steps
    shapes = zip(
        steps.column("engine").to_pylist(),
        *(steps.column(name).to_pylist() for name in ("step", "duration_s", "prefill_tokens", "prefill_attention")),
        *(steps.column(name).to_pylist() for name in ("prefill_seqs", "decode_tokens", "decode_context")),
        strict=True,
    )
    factors = {}
    for engine, step, duration, tokens, attention, chunks, seqs, context in shapes:
        shape = StepShape(
            prefill_tokens=tokens, prefill_attention=attention, prefill_seqs=chunks, decode_seqs=seqs, decode_context=context
        )
        factors[engine, step] = duration / belief.seconds(shape)
    return factors


@cache
def fingerprint() -> Fingerprint:
    return load_fingerprint("llama-3.1-8b", "h200", 1, "bf16")


def test_router_draws_belong_to_requests() -> None:
    """Engines that are slower change every later view, but not which two engines a request draws."""
    drawn = []
    for knobs in ((), ("engine.max_num_batched_tokens=512",)):
        record = played("policy.router=power-of-two", "decisions=full", "sim.steps=off", "duration=5s", *knobs)
        assert record.decisions is not None
        entries = [entry for entry in record.decisions if entry["point"] == "router"]
        drawn.append({entry["request"]["id"]: set(entry["scores"]) for entry in entries})
    assert drawn[0] == drawn[1]
    assert {len(engines) for engines in drawn[0].values()} == {2}


@pytest.fixture(scope="module")
def typical() -> tuple[dict[str, list[Contrast]], Controls]:
    """The comparison that `benchmarks.pairing` calls typical, two routers at 70 % load, with 40 seeds."""
    pairs = [pairing.played(pairing.TYPICAL, seed) for seed in range(40)]
    contrasts = {metric: [p.contrasts["all", metric] for p in pairs] for metric in pairing.METRICS}
    tokens = np.array([pairing.tokens(pairing.TYPICAL[0], seed) for seed in range(40 + 400)], np.float64)
    return contrasts, Controls(tokens[:40], tokens[40:])


def test_pairing_cuts_the_variance_of_a_typical_difference_at_least_fourfold_but_for_the_p99s(typical) -> None:
    """Var(A) + Var(B), which independent seeds would give, over Var(B − A) with common ones.

    A p99 is made of few requests, which are others in the other arm: it gains less, as the table of `benchmarks.pairing` tells of
    other comparisons and loads, too.
    """
    contrasts, controls = typical
    found = {metric: pairing.gains(*arm_values(of), controls.own).paired for metric, of in contrasts.items()}
    tail = {metric: found.pop(metric) for metric in ("ttft_s.p99", "tpot_s.p99")}
    assert min(found.values()) >= 4, found
    assert 1 < min(tail.values()) < 4, tail


def arm_values(contrasts: Sequence[Contrast]) -> tuple[Floats, Floats]:
    a, b = (np.array([getattr(c, arm) for c in contrasts]) for arm in "ab")
    return a, b


def test_what_the_workloads_explain_is_taken_out_of_differences_from_ten_seeds_on(typical) -> None:
    contrasts, controls = typical
    for count, better in ((len(controls.own), True), (ENOUGH_SEEDS - 1, False)):
        plain, told = (pool(contrasts["goodput_req_s"][:count], known) for known in (None, controls))
        assert (told.hi - told.lo < plain.hi - plain.lo) is better
        assert (told == plain) is not better


def test_an_arm_against_itself_differs_in_nothing(scenario: Path) -> None:
    found = experiment(Arm("one", scenario), Arm("other", scenario), 2, jobs=1)
    assert {d.finding for d in found.comparison.differences} == {Finding.SAME}
    assert {d.difference for d in found.comparison.differences} == {0.0}
    assert found.divergences == []


def test_the_answer_does_not_depend_on_the_number_of_processes(scenario: Path) -> None:
    a, b = arms(scenario, None, "policy.router=least-loaded,random")
    one, two = (experiment(a, b, 3, jobs=jobs) for jobs in (1, 2))
    assert one == two
    assert list(one.comparison.seeds) == [3, 4, 5]


def test_the_first_decisions_that_differ_are_those_of_whole_runs_with_full_logs(scenario: Path) -> None:
    from traces.divergence import divergences

    a, b = arms(scenario, None, "policy.router=least-loaded,random", ["duration=5s"])
    found = experiment(a, b, 1).divergences
    whole = divergences(a.run(3, "decisions=full"), b.run(3, "decisions=full"), 10_000)
    assert found[0] == whole[0]
    assert found[0].same_view
    assert found[1] in whole
    assert not found[1].tie


def test_a_run_can_be_stopped_early_and_is_then_partial(scenario: Path) -> None:
    whole, part = played(), simulate(load_scenario(scenario), stop_s=4.0)
    assert part.partial
    assert not whole.partial
    n = part.requests.num_rows
    assert n == np.count_nonzero(floats(whole.requests, "arrival_s") <= 4.0)
    done = part.requests.column("e2e_s").is_valid()
    assert part.requests.filter(done).equals(whole.requests.slice(0, n).filter(done))


def test_records_are_written_where_asked(scenario: Path, tmp_path: Path) -> None:
    a, b = arms(scenario, None, "fleet.gpus=4,5")
    experiment(a, b, 2, jobs=1, out=tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a-3", "a-4", "b-3", "b-4"]
    assert Record.read(tmp_path / "out" / "b-4").manifest["scenario"]["fleet"]["gpus"] == 5


def test_warnings_are_told_once_per_arm_with_how_many_runs_had_them(scenario: Path) -> None:
    a, b = arms(scenario, None, "workload.load.rate=60/s,200/s")
    found = experiment(a, b, 2, jobs=1, explain=0)
    assert any(w.startswith("rate=200/s (2 of 2 runs): ") and "overloaded" in w for w in found.warnings)
    assert not any(w.startswith("rate=60/s") and "overloaded" in w for w in found.warnings)


def test_other_rates_are_paired_by_what_the_requests_are(scenario: Path) -> None:
    a, b = arms(scenario, None, "workload.load.rate=50/s,60/s")
    found = experiment(a, b, 2, jobs=1, explain=0).comparison
    assert "paired by what they are" in found.notes[0]
    assert found.get("tpot_s.mean").finding is Finding.SHOWN


def test_closed_loops_can_be_compared(tmp_path: Path) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(
        """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
workload:
  - name: loop
    trace: {prompt_tokens: 500, output_tokens: {uniform: {min: 5, max: 100}}}
    load: {concurrency: 16}
    requests: 600
seed: 1
"""
    )
    a, b = arms(path, None, "engine.max_num_batched_tokens=8192,512")
    found = experiment(a, b, 2, jobs=1, explain=0).comparison
    assert "paired by what they are" in found.notes[0]
    assert found.get("e2e_s.mean").finding is not Finding.UNKNOWN


def test_other_requests_are_refused(scenario: Path) -> None:
    a, b = arms(scenario, None, "workload.load.trace=azure-2023-conv,azure-2023-code")
    with pytest.raises(InputError, match="do not serve the same requests"):
        experiment(a, b, 1)


@pytest.mark.parametrize(
    ("b", "vary", "words"),
    [
        (None, None, "two scenario files, or one file and --vary"),
        (Path("b.yaml"), "seed=1,2", "two scenario files, or one file and --vary"),
        (None, "policy.router", "names no values"),
        (None, "policy.router=vllm", "does not name two values"),
        (None, "fleet.gpus=1,2,3", "twinserve sweep"),
        (None, "fleet.gpus=2,2", "does not name two values"),
    ],
)
def test_arms_that_are_not_two_are_refused(b: Path | None, vary: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        arms(Path("a.yaml"), b, vary)


def test_two_files_of_one_name_are_told_apart_by_their_paths() -> None:
    a, b = arms(Path("old/demo.yaml"), Path("new/demo.yaml"), None)
    assert (a.name, b.name) == ("old/demo.yaml", "new/demo.yaml")
