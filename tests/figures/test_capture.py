"""A capture does the most valuable first, keeps within its time, goes on where it was, and keeps little."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from figures.capture import COLUMNS, LOADS, PLAN, Capture, Phase, condensed, served_per_s
from sim.run import simulate
from tests.figures.test_calibration import found, run, scenario
from traces.assembly.library import to_json
from traces.errors import InputError
from traces.fingerprints import load_fingerprint
from traces.scenario import load_scenario
from traces.tables import floats

GALLERY = Path(__file__).parents[2] / "traces" / "gallery"


class Rehearsal(Capture):
    """Takes the time that it is told and writes empty results."""

    took_s: float = 100.0
    failing: str = ""
    played: list[str]

    def _do(self, phase: Phase) -> None:
        self.played.append(phase.name)
        self.now_s += self.took_s
        if phase.name == self.failing:
            raise InputError("out of memory")
        (self.out / f"{phase.name}.json").write_text("{}")

    _fingerprint = _replay = _do


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "scenario.yaml"
    file.write_text(yaml.safe_dump(scenario(replay={"device": "cpu"}).resolved()))
    return file


def rehearsal(path: Path, minutes: float, **over: Any) -> Rehearsal:
    capture = Rehearsal(path, path.parent / "out", minutes)
    capture.played, capture.now_s = [], 0.0  # type: ignore[attr-defined]
    capture.clock = lambda: capture.now_s  # type: ignore[attr-defined]
    for name, value in over.items():
        setattr(capture, name, value)
    return capture


def test_with_time_enough_every_phase_is_played_in_the_order_of_the_plan(path: Path) -> None:
    capture = rehearsal(path, 90)
    manifest = capture.run()
    assert capture.played == [phase.name for phase in PLAN]
    assert set(manifest["phases"].values()) == {"done in 100 s"}
    assert json.loads((capture.out / "manifest.json").read_text())["phases"] == manifest["phases"]


def test_a_phase_that_does_not_fit_is_left_out_and_named(path: Path) -> None:
    manifest = rehearsal(path, 10).run()
    left_out = [name for name, how in manifest["phases"].items() if how.startswith("left out: needs about")]
    assert manifest["phases"]["fingerprint"] == "done in 100 s"
    assert left_out
    assert manifest["wall_s"] <= 600


def test_a_capture_that_was_cut_off_goes_on_where_it_was(path: Path) -> None:
    first = rehearsal(path, 10)
    first.run()
    second = rehearsal(path, 90)
    manifest = second.run()
    assert sorted(first.played + second.played) == sorted(phase.name for phase in PLAN)
    assert manifest["phases"]["fingerprint"] == "done before"


def test_a_phase_that_fails_is_noted_and_the_others_go_on(path: Path) -> None:
    manifest = rehearsal(path, 90, failing="low").run()
    assert manifest["phases"]["low"] == "failed: out of memory"
    assert manifest["phases"]["overload"] == "done in 100 s"


def test_without_a_fingerprint_nothing_is_replayed(path: Path) -> None:
    manifest = rehearsal(path, 90, failing="fingerprint").run()
    assert manifest["phases"]["knee"] == "left out: there is no fingerprint"


def test_the_plan_has_three_loads_with_and_without_prefix_caching() -> None:
    assert LOADS["low"] < LOADS["knee"] < 1 < LOADS["overload"]
    for setting, names in (("off", set(LOADS)), ("on", {f"{load}-cached" for load in LOADS})):
        assert names <= {phase.name for phase in PLAN if f"engine.enable_prefix_caching={setting}" in phase.sets}
    assert sum(phase.seconds(90, 75) for phase in PLAN[:5]) < 25 * 60


def test_the_large_model_of_the_plan_is_one_that_the_gpu_is_said_to_hold() -> None:
    phase = next(phase for phase in PLAN if len(phase.layers) > 2)
    pool = load_scenario(GALLERY / "h200-capture.yaml", phase.sets).pools[0]
    assert (pool.model, pool.hardware.tensor_parallel) == ("llama-3.1-70b", 1)
    assert max(phase.layers) < pool.shape.layers


def test_what_an_engine_serves_is_a_load_between_idle_and_overload(path: Path) -> None:
    fingerprint = path.with_name("fingerprint.json")
    fingerprint.write_text(to_json(load_fingerprint("llama-3.1-8b", "h200", 1)))
    served = served_per_s(path, (), fingerprint)
    low, high = (
        simulate(scenario(workload=[{**scenario().resolved()["workload"][0], "rate": rate * served}])) for rate in (0.4, 1.6)
    )
    assert max(floats(low.requests, "queue_s")) < 0.5
    assert max(floats(high.requests, "queue_s")) > 2 * max(floats(low.requests, "queue_s"))


def test_what_is_kept_is_one_row_per_request_and_world() -> None:
    real = run()
    table = condensed(found(real, real))
    assert set(table.column_names) == {"run", "outcome", *COLUMNS}
    assert table["run"].unique().to_pylist() == ["vllm-1", "vllm-2", "sim"]
    assert len(table) == 3 * len(real.requests)
    assert table.nbytes / len(table) < 48
