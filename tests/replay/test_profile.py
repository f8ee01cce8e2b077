"""The probe visits what it promises, and the fit finds again what steps were made of."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from policies.curve import Curve, Lines
from policies.fingerprint import NOTHING, Fingerprint, Terms
from replay.profile import fit, front_end_s, probe
from sim.run import simulate
from traces.errors import InputError
from traces.record import Record
from traces.scenario import Scenario
from traces.scenario.replay import Replay
from traces.tables import floats

GPU = Replay(device="cuda")
TRUE = Terms(
    overhead=2e-3,
    gemm=Curve((1.0, 64.0, 1024.0), (0.0, 5e-4, 2e-2)),
    sampled=NOTHING,
    prefill_chunk=3e-4,
    prefill_token=0.0,
    prefill_attention=2e-9,
    decode=Lines.proportional(1e-7),
)


def scenario(**over: Any) -> Scenario:
    document = {
        "model": "llama-3.1-8b",
        "fleet": {"gpu": "h200", "gpus": 1},
        "engine": {"max_num_seqs": 32, "max_num_batched_tokens": 512, "max_model_len": 4096},
        "workload": [
            {"name": "chat", "trace": {"prompt_tokens": {"uniform": {"min": 10, "max": 900}}, "output_tokens": 20}, "rate": 15}
        ],
        "duration": 40,
        "extrapolate": True,
        **over,
    }
    return Scenario.model_validate(yaml.safe_load(yaml.safe_dump(document)))


def truth(residual: float = 0.0) -> Fingerprint:
    return Fingerprint("llama-3.1-8b", "h200", 1, "bf16", "test", "analytic", "made up", TRUE, {}, residual)


def record(**over: Any) -> Record:
    return simulate(scenario(sim={"leap": False}, **over), fingerprints=[truth(over.pop("residual", 0.0))])


def test_the_probe_goes_from_one_request_to_the_step_s_limit() -> None:
    pool = scenario().pools[0]
    work = probe(pool, 900, gap_s=0.5, seed=1)
    together = np.unique(work.arrival_s, return_counts=True)[1]
    assert set(together.tolist()) == {1, 2, 4, 8, 16, 32}
    assert work.prompt_tokens.max() <= 900
    assert work.prompt_tokens.min() < 10
    assert (probe(pool, 900, gap_s=0.5, seed=1).prompt_tokens == work.prompt_tokens).all()
    assert (probe(pool, 100_000, gap_s=0.5, seed=1).prompt_tokens + 96 <= 4096).all()


def test_the_fit_tells_the_time_of_every_step_it_saw() -> None:
    run = record()
    found = fit(run, scenario().pools[0], GPU, engine="test", source="test")
    assert found.provenance == "measured"
    assert found.residual < 0.05
    assert all(median < 0.02 for median, _, _ in found.errors.values())
    assert found.terms.overhead == pytest.approx(2e-3, rel=0.2)


def test_a_simulation_by_the_fit_is_that_by_the_truth() -> None:
    found = fit(record(), scenario().pools[0], GPU, engine="test", source="test")
    one, other = (simulate(scenario(sim={"noise": "off"}), fingerprints=[f]) for f in (truth(), found))
    for name in ("ttft_s", "tpot_s"):
        assert np.median(floats(one.requests, name)) == pytest.approx(np.median(floats(other.requests, name)), rel=0.02)


def test_noise_is_told_as_it_was_and_has_mean_one() -> None:
    noisy = simulate(scenario(sim={"leap": False, "noise": "20%"}), fingerprints=[truth()])
    found = fit(noisy, scenario().pools[0], GPU, engine="test", source="test")
    assert found.residual == pytest.approx(0.2, rel=0.15)
    levels, values = np.array([0.0, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 1.0]), np.array(found.noise)
    assert ((values[1:] + values[:-1]) / 2 * np.diff(levels)).sum() == pytest.approx(1.0, abs=0.01)


def test_stalls_of_the_machine_are_left_out_and_counted() -> None:
    run = record()
    stalled = floats(run.steps, "duration_s")
    stalled[::100] *= 20
    column = run.steps.column_names.index("duration_s")
    steps = run.steps.set_column(column, run.steps.schema.field("duration_s"), pa.array(stalled))
    found = fit(dataclasses.replace(run, steps=steps), scenario().pools[0], GPU, engine="test", source="test")
    assert found.errors["decode"][0] < 0.02
    assert f"{len(stalled[::100])} stalls of the machine left out" in found.source


def test_a_handful_of_steps_is_no_measurement() -> None:
    run = record()
    with pytest.raises(InputError, match="10 steps were measured, and 200 are needed"):
        fit(dataclasses.replace(run, steps=run.steps.slice(0, 10)), scenario().pools[0], GPU, engine="test", source="test")


def test_what_lies_before_the_engine_is_found_on_an_idle_one() -> None:
    from figures.calibration import through_front_end

    quiet = simulate(scenario(workload=[{"name": "chat", "trace": {"prompt_tokens": 50, "output_tokens": 3}, "rate": 2}]))
    assert front_end_s(quiet) == pytest.approx(0.0, abs=1e-9)
    assert front_end_s(through_front_end(quiet, 0.004)) == pytest.approx(0.004)
