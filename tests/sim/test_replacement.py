"""Re-placement while a run goes on: intents and loads change, engines follow, and nobody is worse off meanwhile."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from policies.decisions import Activate, Scale
from policies.redecide import redecide_record
from policies.types import EngineState, FleetView
from sim.run import simulate
from traces.errors import InputError
from traces.record import Record
from traces.scenario import load_scenario

SWAPPED = """
model: llama-3.1-8b
inventory: {h200: 3}
fleet:
  - {name: whole, gpu: h200, gpus: 2, parked: 1, start_up: 2s}
  - {name: split, gpu: h200, gpus: 2, tensor_parallel: 2, parked: 1, start_up: 3s}
workload:
  - {name: chat, trace: {prompt_tokens: 300, output_tokens: 60}, rate: 6/s, slo: {ttft: 500ms, tpot: 40ms}}
intents:
  - {goal: min_cost}
  - {goal: min_latency, at: 10s}
  - {goal: min_cost, at: 20s}
policy: {router: least-loaded, scaler: {iserve: {period_s: 2, watch_s: 0.5, window_s: 8, holds_s: 600}}}
duration: 30s
decisions: full
seed: 2
"""


def run(folder: Path, *sets: str, text: str = SWAPPED) -> Record:
    """The run, in which more GPUs were never in use than there are, and whose decisions can be made again from its log."""
    path = folder / "scenario.yaml"
    path.write_text(text)
    scenario = load_scenario(path, sets)
    record = simulate(scenario)
    found = redecide_record(record.manifest, record.decisions or ())
    assert found.same, found.differences
    limit = (scenario.inventory or {}).get("h200")
    assert limit is None or max(in_use(record)) <= limit
    return record


def stages(record: Record) -> list[tuple[float, str, str]]:
    rows = record.fleet.to_pydict()
    return [row for row in zip(rows["time_s"], rows["engine"], rows["state"], strict=True) if row[0] > 0]


def in_use(record: Record) -> list[int]:
    """GPUs of engines that are not parked, after all changes of each instant."""
    rows = record.fleet.to_pydict()
    state: dict[str, int] = {}
    used = []
    columns = zip(rows["time_s"], rows["engine"], rows["state"], rows["gpus"], strict=True)
    for _, changes in groupby(columns, key=lambda row: row[0]):
        state |= {engine: 0 if now == "parked" else gpus for _, engine, now, gpus in changes}
        used.append(sum(state.values()))
    return used


def reasons(record: Record) -> list[str]:
    return [entry["reason"] for entry in record.decisions or () if entry["point"] == "scaler"]


def outcomes(record: Record) -> set[str]:
    return set(record.requests.column("outcome").to_pylist())


def test_an_intent_that_changes_brings_the_new_engine_up_before_the_old_one_goes(tmp_path: Path) -> None:
    record = run(tmp_path)
    assert [(engine, state) for _, engine, state in stages(record)] == [
        ("e2", "starting"), ("e2", "active"), ("e0", "draining"), ("e0", "parked"),
        ("e0", "starting"), ("e0", "active"), ("e2", "draining"), ("e2", "parked"),
    ]  # fmt: skip
    assert [time for time, _, state in stages(record) if state == "starting"] == [10.0, 20.0]
    assert outcomes(record) == {"completed"}


def test_no_request_misses_its_objective_while_engines_change(tmp_path: Path) -> None:
    requests = run(tmp_path).requests
    assert max(requests.column("ttft_s").to_pylist()) < 0.5
    assert max(requests.column("tpot_s").to_pylist()) < 0.04


def test_without_room_for_both_nothing_is_changed_and_the_reason_tells_what_it_would_cost(tmp_path: Path) -> None:
    record = run(tmp_path, "inventory.h200=2")
    assert not stages(record)
    assert any("not worth it" in reason and "short of" in reason for reason in reasons(record))


def test_told_to_interrupt_engines_are_exchanged_and_requests_wait_without_being_lost(tmp_path: Path) -> None:
    record = run(tmp_path, "inventory.h200=2", "policy.scaler.iserve.interrupt=true")
    changes = [(engine, state) for _, engine, state in stages(record)]
    assert changes[:4] == [("e0", "draining"), ("e0", "parked"), ("e2", "starting"), ("e2", "active")]
    assert outcomes(record) == {"completed"}


def test_a_load_that_rises_is_given_more_engines_and_keeps_them_for_a_while(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        "workload.chat.rate=140/s",
        "workload.chat.arrivals={varying: {profile: [1, 9], step: 15s}}",
        "intents=[{goal: min_cost}]",
        "engine.max_num_seqs=64",
        "fleet.split.parked=1",
        "decisions=full",
    )
    activated = [(time, engine) for time, engine, state in stages(record) if state == "starting"]
    assert activated
    assert all(time > 15.0 for time, _ in activated)
    assert not [state for _, _, state in stages(record) if state == "draining"]


@pytest.mark.parametrize("at", [9.0, 11.0, 13.5])
def test_engines_may_fail_before_during_and_after_a_change(tmp_path: Path, at: float) -> None:
    record = run(tmp_path, f"faults={{events: [{{engine: e0, at: {at}s, for: 6s}}, {{engine: e2, at: {at + 1}s, for: 4s}}]}}")
    assert outcomes(record) == {"completed"}


def test_engines_of_models_that_nobody_asks_for_are_left_alone_with_their_gpus(tmp_path: Path) -> None:
    other = SWAPPED.replace("workload:", "  - {name: other, model: qwen2.5-7b, gpu: h200, gpus: 1, start_up: 1s}\nworkload:")
    assert "other" in other
    record = run(tmp_path, "inventory.h200=4", text=other)
    assert "e3" not in {engine for _, engine, _ in stages(record)}
    crowded = run(tmp_path, text=other)
    assert not stages(crowded)  # the other model's GPU is not there for the change


def test_deciding_takes_nothing_from_the_future(tmp_path: Path) -> None:
    longer = run(tmp_path, "duration=40s")
    assert stages(run(tmp_path))[:4] == stages(longer)[:4]


class Greedy:
    """Activates all that is parked, whether there are GPUs or not."""

    def scale(self, fleet: FleetView) -> Scale:
        parked = [engine.id for engine in fleet.members if engine.state is EngineState.PARKED]
        return Scale(tuple(Activate(name, "all of them") for name in parked))


def test_the_world_refuses_engines_for_which_there_are_no_gpus(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Activate for engine e2, which takes 2 h200, and 1 are free"):
        run(tmp_path, "policy.scaler=tests.sim.test_replacement:Greedy")


def test_the_record_tells_inventory_and_intents(tmp_path: Path) -> None:
    told = run(tmp_path).manifest["scenario"]
    assert told["inventory"] == {"h200": 3}
    assert [wish["goal"] for wish in told["intents"]] == ["min_cost", "min_latency", "min_cost"]
