"""Scalers and faults by the wall clock, on servers that the run starts and stops itself; fake ones, each a process."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import replay.launch
from policies.decisions import Activate, Change, Drain, Scale
from policies.types import EngineState, FleetView
from replay.live import run_live
from replay.managed import ManagedServer
from replay.world import World
from tests.ports import free_ports
from tests.replay.test_live import outcomes, scenario
from traces.record import Record


class FakeProcess(ManagedServer):
    """In place of vLLM's server: 20 ms per token."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._command = [sys.executable, "-m", "tests.replay.fake_server", str(self._port), "0.02"]


class Swap:
    """Activates e1 at 0.3 s and drains e0 once e1 is up."""

    def scale(self, fleet: FleetView) -> Scale:
        states = {engine.id: engine.state for engine in fleet.members}
        changes: list[Change] = []
        if fleet.now_s >= 0.3 and states["e1"] is EngineState.PARKED:
            changes.append(Activate("e1", "it is time"))
        if states == {"e0": EngineState.ACTIVE, "e1": EngineState.ACTIVE}:
            changes.append(Drain("e0", "e1 is up"))
        return Scale(tuple(changes), fleet.now_s + 0.05)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setattr(replay.launch, "ManagedServer", FakeProcess)

    def play(fleet: dict[str, Any], seconds: float, parked: str, **over: Any) -> Record:
        part = {"engines": "managed", "urls": [], "shape": "tiny", "device": "cpu", "port": free_ports(2), "parked": parked}
        engine = {"block_size": 32, "max_model_len": 1024, "num_gpu_blocks_override": 400}
        urls = ["http://localhost:1", "http://localhost:2"]
        world = World(scenario(urls, 20, seconds, replay=part, fleet=fleet, engine=engine, **over))
        return world.record(run_live(world, tmp_path, None), 1.0)

    return play


def states(record: Record, engine: str) -> list[str]:
    rows = zip(record.fleet.column("engine").to_pylist(), record.fleet.column("state").to_pylist(), strict=True)
    return [state for name, state in rows if name == engine]


@pytest.mark.parametrize(("parked", "seconds"), [("idle", 3.0), ("stop", 12.0)])  # a process may take seconds to start
def test_a_server_comes_up_for_the_run_and_another_is_drained(parked: str, seconds: float, run: Any) -> None:
    fleet = {"gpu": "h200", "gpus": 2, "parked": 1, "start_up": "100ms"}
    policy = {"router": "round-robin", "batcher": "vllm", "scaler": f"{__name__}:Swap"}
    record = run(fleet, seconds, parked, policy=policy)
    assert outcomes(record) == {"completed": len(record.requests)}
    assert states(record, "e0") == ["active", "draining", "parked"]
    assert states(record, "e1") == ["parked", "starting", "active"]
    assert Counter(record.requests.column("engine").to_pylist())["e1"] > 0
    assert record.manifest["parked"] == parked
    assert len(record.manifest["start_ups_s"]) == (parked == "stop")


def test_a_fault_kills_a_server_whose_requests_start_over_and_starts_it_again(run: Any) -> None:
    faults = {"events": [{"engine": "e0", "at": "500ms", "for": "200ms"}]}
    record = run({"gpu": "h200", "gpus": 2, "start_up": "0s"}, 2.5, "idle", faults=faults, drain=20)
    assert states(record, "e0")[:3] == ["active", "failed", "starting"]
    assert outcomes(record) == {"completed": len(record.requests)}
    assert record.manifest["faults"]["failures"] == 1
    assert record.manifest["faults"]["retried"] > 0
    assert set(record.requests.column("output_tokens").to_pylist()) == {8}
