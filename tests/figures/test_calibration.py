"""The simulator held against "real" runs: errors with intervals, spreads, gaps, plots. The runs are simulated here."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from figures.calibration import BOUNDS, Calibration, Error, calibrate, errors, through_front_end, uncovered, write
from figures.calibration_plots import cdf, over_time
from sim.run import simulate
from traces.errors import InputError
from traces.fingerprints import load_fingerprint
from traces.record import Record
from traces.scenario import Scenario
from traces.tables import floats


def scenario(**over: Any) -> Scenario:
    return Scenario.model_validate(
        {
            "model": "llama-3.1-8b",
            "fleet": {"gpu": "h200", "gpus": 1},
            "workload": [
                {
                    "name": "chat",
                    "trace": {"prompt_tokens": {"uniform": {"min": 50, "max": 800}}, "output_tokens": 40},
                    "rate": 10,
                    "slo": {"ttft": 0.5, "tpot": 0.05},
                }
            ],
            "duration": 40,
            **over,
        }
    )


def run(**over: Any) -> Record:
    record = simulate(scenario(**over))
    return dataclasses.replace(record, manifest={**record.manifest, "sound": True})


@pytest.fixture(scope="module")
def real() -> Record:
    return run()


def found(real: Record, simulated: Record) -> Calibration:
    return Calibration(
        "chat",
        "cpu",
        list(errors([real, real], simulated, BOUNDS["cpu"])),
        0.0,
        load_fingerprint("llama-3.1-8b", "h200", 1),
        list(uncovered(scenario(), [real], simulated, given=True)),
        [real, real],
        simulated,
    )


def by_metric(calibration: Calibration) -> dict[str, Error]:
    return {error.metric: error for error in calibration.errors}


def test_two_equal_worlds_are_not_apart(real: Record) -> None:
    calibration = found(real, real)
    assert all(error.error == 0 for error in calibration.errors)
    assert calibration.sound


def test_a_constant_in_front_of_the_engine_is_the_error_of_the_first_token_alone(real: Record) -> None:
    held = by_metric(found(real, through_front_end(real, 0.010)))
    ttft = float(np.median(floats(real.requests, "ttft_s")))
    assert held["ttft_s.p50"].error == pytest.approx(0.010 / ttft, rel=0.01)
    assert held["tpot_s.p50"].error == 0
    assert held["ttft_s.p50"].lo is not None


def test_an_error_beyond_what_is_allowed_is_missed(real: Record) -> None:
    calibration = found(real, through_front_end(real, 0.050))
    assert by_metric(calibration)["ttft_s.p50"].holds is False
    assert by_metric(calibration)["tpot_s.p50"].holds is True
    assert by_metric(calibration)["e2e_s.p50"].holds is None
    assert not calibration.sound


def test_twice_the_spread_between_two_real_runs_is_allowed(real: Record) -> None:
    other = through_front_end(real, 0.030)
    held = {error.metric: error for error in errors([real, other], real, BOUNDS["cpu"])}
    assert held["ttft_s.p50"].spread is not None
    assert held["ttft_s.p50"].allowed == pytest.approx(2 * held["ttft_s.p50"].spread)


def test_what_is_not_covered_is_said(real: Record) -> None:
    gaps = " ".join(uncovered(scenario(), [real], real, given=True))
    for word in ("preemption", "prefix caching", "speculative", "routing", "tensor parallelism", "measured before"):
        assert word in gaps


def test_all_of_it_is_written(real: Record, tmp_path: Path) -> None:
    write(found(real, real), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "real-1", "real-2", "sim", "fingerprint.json", "calibration.json", "calibration.svg", "calibration.png",
    }  # fmt: skip
    assert json.loads((tmp_path / "out" / "calibration.json").read_text())["sound"] is True
    assert (
        "vLLM, run 2" in (tmp_path / "out" / "calibration.svg").read_text()
        or (tmp_path / "out" / "calibration.svg").stat().st_size > 1000
    )


def test_curves_rise_to_one_and_means_over_time_keep_their_area(real: Record) -> None:
    values, share = cdf(real, "ttft_s")
    assert (np.diff(values) >= 0).all()
    assert share[-1] == 1.0
    end_s = float(real.manifest["end_s"])
    edges, mean = over_time(real, "running", end_s)
    area = float((floats(real.steps, "running") * floats(real.steps, "duration_s")).sum())
    assert float((mean * np.diff(edges)).sum()) == pytest.approx(area, rel=1e-6)


@pytest.mark.parametrize(
    ("over", "fault"),
    [
        ({"fleet": [{"gpu": "h200", "gpus": 1}, {"gpu": "h100", "gpus": 1}]}, "takes a fleet of one pool"),
        ({"replay": {"engines": "virtual"}}, "virtual engines keep no wall clock"),
        ({"replay": {"engines": "attached", "urls": ["http://127.0.0.1:9"]}}, "does not answer"),
    ],
)
def test_what_cannot_be_held_against_vllm_is_refused_in_one_line(tmp_path: Path, over: dict[str, Any], fault: str) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(scenario(**over).resolved()))
    with pytest.raises(InputError, match=fault) as refused:
        calibrate(path)
    assert len(refused.value.faults) == 1
