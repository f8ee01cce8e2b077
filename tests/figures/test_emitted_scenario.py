"""A plan's chosen deployment as a scenario: what the simulator runs, and what a replay starts."""

from __future__ import annotations

from pathlib import Path

from figures.planning.emit import emitted
from policies.iserve.configuration import Configuration
from sim.run import simulate
from tests.sim.test_plan import SCENARIO
from traces.scenario import load_scenario

TWO = Configuration("llama-3.1-8b", "h100", 2, 1, "fp8", "fp8")


def test_the_chosen_deployment_is_a_scenario_that_runs(tmp_path: Path) -> None:
    asked, chosen = tmp_path / "asked.yaml", tmp_path / "chosen.yaml"
    asked.write_text(SCENARIO)
    chosen.write_text(emitted("scenario", TWO, 3, load_scenario(asked)))
    (pool,) = load_scenario(chosen).pools
    assert (pool.hardware.gpu, pool.hardware.gpus, pool.hardware.engines) == ("h100", 6, 3)
    assert (pool.hardware.precision, pool.hardware.kv_precision) == ("fp8", "fp8")
    record = simulate(load_scenario(chosen, ["duration=5s"]))
    assert record.manifest["scenario"]["replay"]["engines"] == "managed"
    assert len(set(record.fleet.column("engine").to_pylist())) == 3


def test_weights_are_named_for_the_replay(tmp_path: Path) -> None:
    asked, chosen = tmp_path / "asked.yaml", tmp_path / "chosen.yaml"
    asked.write_text(SCENARIO)
    chosen.write_text(emitted("scenario", TWO, 1, load_scenario(asked), "/models/chat"))
    replay = load_scenario(chosen).replay
    assert replay is not None
    assert replay.weights == "/models/chat"
