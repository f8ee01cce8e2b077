"""Engines on one GPU: each is slowed by the others while these are at work, as much as time slicing or a measurement says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from policies.interference import slowdown, slowed
from policies.latency import FingerprintLatency, StepShape
from sim.run import simulate
from traces.errors import InputError
from traces.fingerprints import load_fingerprint
from traces.record import Record
from traces.scenario import load_scenario
from traces.usage import spans

TWO = """
model: llama-3.1-8b
inventory: {h200: 1}
fleet:
  - {name: chat, gpu: h200, gpus: 1, share: 50%}
  - {name: tags, model: llama-3.2-3b, gpu: h200, gpus: 1, share: 50%}
workload:
  - {name: chat, trace: {prompt_tokens: 100, output_tokens: 200}, load: {concurrency: 4}, requests: 20}
  - {name: tags, model: llama-3.2-3b, trace: {prompt_tokens: 100, output_tokens: 200}, load: {concurrency: 4}, requests: 40}
sim: {noise: off}
"""


def run(folder: Path, *sets: str, text: str = TWO) -> Record:
    path = folder / "scenario.yaml"
    path.write_text(text)
    return simulate(load_scenario(path, sets))


def tpot(record: Record, tier: str) -> float:
    """Mean of the requests that another model's engine was at work beside all the time: the first four."""
    table = record.requests.to_pandas()
    return float(table[table["class"] == tier].tpot_s.head(4).mean())


def alone(folder: Path, tier: str) -> float:
    return tpot(run(folder, "inventory.h200=2"), tier)


def test_two_engines_that_always_work_have_half_the_gpu_each(tmp_path: Path) -> None:
    shared = run(tmp_path)
    for tier in ("chat", "tags"):
        assert tpot(shared, tier) == pytest.approx(2 * alone(tmp_path, tier), rel=0.02)


def test_a_measured_factor_takes_the_place_of_time_slicing_for_the_pool_that_it_is_of(tmp_path: Path) -> None:
    measured = run(tmp_path, "interference.chat.tags=1.3")
    assert tpot(measured, "chat") == pytest.approx(1.3 * alone(tmp_path, "chat"), rel=0.02)
    assert tpot(measured, "tags") == pytest.approx(2 * alone(tmp_path, "tags"), rel=0.02)


def test_an_engine_is_as_fast_as_alone_while_nobody_works_beside_it(tmp_path: Path) -> None:
    record = run(tmp_path, "workload.chat.requests=100")
    table = record.requests.to_pandas()
    tags = table[table["class"] == "tags"]
    until = (tags.arrival_s + tags.e2e_s).max()
    late = table[(table["class"] == "chat") & (table.arrival_s > until)].tpot_s
    assert len(late) > 10
    assert np.allclose(late, alone(tmp_path, "chat"), rtol=0.02)


def test_each_of_two_engines_costs_half_a_gpu_and_has_half_its_memory(tmp_path: Path) -> None:
    shared, apart = run(tmp_path), run(tmp_path, text=TWO.replace(", share: 50%", "").replace("{h200: 1}", "{h200: 2}"))
    held = spans(shared.fleet, 10.0, None, 3.0)
    assert held.gpus.tolist() == [0.5, 0.5]
    assert held.usd_per_s.sum() == pytest.approx(3.0 / 3600)
    half, whole = (record.manifest["engines"]["e0"]["kv_tokens_capacity"] for record in (shared, apart))
    assert half < whole / 2


def test_what_several_others_add_is_summed() -> None:
    assert slowdown([]) == 1
    assert slowdown([2.0, 2.0]) == 3
    assert slowdown([1.2, 1.1]) == pytest.approx(1.3)


def test_slowed_step_times_are_the_same_multiple_of_every_step() -> None:
    fingerprint = load_fingerprint("llama-3.1-8b", "h200", 1, "bf16")
    plain, slow = FingerprintLatency(fingerprint), FingerprintLatency(slowed(fingerprint, 1.5))
    for step in (StepShape(decode_seqs=7, decode_context=9000), StepShape(600, 180_000, 2, 3, 500, 4)):
        assert slow.seconds(step) == pytest.approx(1.5 * plain.seconds(step))
    assert slowed(fingerprint, 1.0) is fingerprint


FOUR_PLACES = """
model: llama-3.1-8b
inventory: {h200: 2}
fleet:
  - {name: chat, gpu: h200, gpus: 1, share: 50%}
  - {name: chat-fp8, gpu: h200, gpus: 1, share: 50%, precision: fp8, parked: 1, start_up: 2s}
  - {name: code, model: qwen2.5-7b, gpu: h200, gpus: 1, share: 50%, parked: 1, start_up: 2s}
  - {name: code-fp8, model: qwen2.5-7b, gpu: h200, gpus: 1, share: 50%, precision: fp8}
  - {name: tags, model: llama-3.2-3b, gpu: h200, gpus: 1, share: 50%}
workload:
  - {name: chat, trace: {prompt_tokens: 300, output_tokens: 60}, rate: 2/s}
  - {name: code, model: qwen2.5-7b, trace: {prompt_tokens: 300, output_tokens: 60}, rate: 2/s}
  - {name: tags, model: llama-3.2-3b, trace: {prompt_tokens: 300, output_tokens: 6}, rate: 2/s}
intents:
  - {model: llama-3.1-8b, goal: min_latency, accuracy: 99.9%}
  - {model: qwen2.5-7b, goal: min_latency}
  - {model: llama-3.1-8b, goal: min_latency, at: 10s}
  - {model: qwen2.5-7b, goal: min_latency, accuracy: 99.9%, at: 10s}
policy: {stack: iserve, scaler: {iserve: {period_s: 2, watch_s: 0.5, window_s: 8}}}
duration: 30s
decisions: full
seed: 2
"""


def test_two_models_exchange_engines_through_the_one_place_that_is_free(tmp_path: Path) -> None:
    record = run(tmp_path, text=FOUR_PLACES)
    rows = record.fleet.to_pydict()
    at = {(e, s): t for t, e, s in zip(rows["time_s"], rows["engine"], rows["state"], strict=True) if t > 0}
    first, second = sorted((at["e1", "starting"], at["e2", "starting"]))
    assert first >= 10
    assert second >= min(at["e0", "parked"], at["e3", "parked"]), "the second needs the place that the first exchange leaves"
    use, most = {}, 0.0
    for time, engine, state, gpus in zip(*(rows[name] for name in ("time_s", "engine", "state", "gpus")), strict=True):
        use[engine] = 0.0 if state == "parked" else gpus
        most = max(most, sum(use.values())) if time > 0 else most
    assert most == 2.0
    assert set(record.requests.column("outcome").to_pylist()) == {"completed"}


def test_a_placement_is_judged_by_the_step_times_beside_others(tmp_path: Path) -> None:
    """At 16 bits a token takes 5.3 ms alone, which is within the limit of 10 ms with a measured factor of 1.2 and not with 2."""
    limited = "intents=[{model: llama-3.1-8b, goal: min_cost, tpot: 10ms}]"
    assert "e1" in started(run(tmp_path, limited, "duration=12s", text=FOUR_PLACES))
    factors = ", ".join(f"{pool}: 1.2" for pool in ("chat", "chat-fp8", "code", "code-fp8", "tags"))
    measured = run(tmp_path, limited, "duration=12s", f"interference={{chat: {{{factors}}}}}", text=FOUR_PLACES)
    assert "e1" not in started(measured)


def started(record: Record) -> set[str]:
    """Engines that came up during the run."""
    rows = record.fleet.to_pydict()
    return {engine for engine, state in zip(rows["engine"], rows["state"], strict=True) if state == "starting"}


@pytest.mark.parametrize(
    ("sets", "fault"),
    [
        (["fleet.chat.share=40%"], r"fleet\[0\].share: 40% leaves a part of the GPU to nobody; write 50%, 33%"),
        (["fleet.chat.share=33%"], r"fleet\[\d\].share: differs between pools on h200"),
        (["engine.async_scheduling=on"], r"fleet\[0\].share: does not go with async_scheduling; turn that off"),
        (["interference.chat.tag=1.3"], r"interference\.chat\.tag: no pool `tag` shares GPUs"),
        (["interference.chat.tags=0.5"], r"interference\.chat\.tags"),
    ],
)
def test_what_cannot_be_shared_is_told_in_one_line(tmp_path: Path, sets: list[str], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        run(tmp_path, *sets)


def test_three_engines_do_not_fit_the_two_places_of_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1\.5 h200 are in use at the start, and there are 1"):
        run(tmp_path, "fleet.tags.gpus=2")
