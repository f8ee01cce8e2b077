"""iServe on real vLLM: intents are swapped while three models serve, engines are exchanged for it, and no request is lost."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from sim.run import simulate
from tests.parity.replaying import scenario, served
from tests.sim.test_replacement import SWAPPED

THREE_MODELS = """
model: llama-3.1-8b
inventory: {h200: 4}
fleet:
  - {name: chat, gpu: h200, gpus: 1, start_up: 60ms}
  - {name: chat-fp8, gpu: h200, gpus: 1, precision: fp8, parked: 1, start_up: 60ms}
  - {name: code, model: qwen2.5-7b, gpu: h200, gpus: 1, parked: 1, start_up: 60ms}
  - {name: code-fp8, model: qwen2.5-7b, gpu: h200, gpus: 1, precision: fp8, start_up: 60ms}
  - {name: tags, model: llama-3.2-3b, gpu: h200, gpus: 1, start_up: 60ms}
engine: {max_num_seqs: 8, max_num_batched_tokens: 128, num_gpu_blocks_override: 40, block_size: 32, max_model_len: 512}
workload:
  - {name: chat, trace: {prompt_tokens: 60, output_tokens: 8}, load: {concurrency: 2}, requests: 60}
  - {name: code, model: qwen2.5-7b, trace: {prompt_tokens: 100, output_tokens: 6}, load: {concurrency: 2}, requests: 60}
  - {name: tags, model: llama-3.2-3b, trace: {prompt_tokens: 30, output_tokens: 4}, load: {concurrency: 1}, requests: 60}
intents:
  - {model: llama-3.1-8b, goal: min_latency, accuracy: 99.9%}
  - {model: qwen2.5-7b, goal: min_latency}
  - {model: llama-3.1-8b, goal: min_latency, at: 300ms}
  - {model: qwen2.5-7b, goal: min_latency, accuracy: 99.9%, at: 300ms}
policy: {stack: iserve, scaler: {iserve: {period_s: 0.1, watch_s: 0.02, window_s: 2}}}
duration: 5min
drain: 60s
replay:
  engines: in-process
  shape: {llama-3.1-8b: small, qwen2.5-7b: mini, llama-3.2-3b: tiny}
  deadline: 10s
decisions: full
seed: 3
"""
"""Two devices of two places each: one is free, so that a new engine can come up before an old one goes."""


def test_swapped_intents_exchange_the_engines_of_two_models_one_after_the_other(tmp_path: Path) -> None:
    record = served(THREE_MODELS, tmp_path)
    fleet = record.fleet.to_pydict()
    rows = list(zip(fleet["time_s"], fleet["engine"], fleet["state"], fleet["gpus"], strict=True))
    at = {(engine, state): time for time, engine, state, _ in rows}
    for new, old in (("e1", "e0"), ("e2", "e3")):
        assert 0.3 <= at[new, "starting"] <= at[new, "active"] - 0.06
        assert at[new, "active"] <= at[old, "draining"] <= at[old, "parked"]
    occupied: dict[str, int] = {}
    for _, changes in groupby(rows, key=lambda row: row[0]):
        occupied |= {engine: 0 if state == "parked" else gpus for _, engine, state, gpus in changes}
        assert sum(occupied.values()) <= 4
    requests = record.requests.to_pydict()
    assert set(requests["outcome"]) == {"completed"}
    sent = list(zip(requests["model"], requests["arrival_s"], requests["engine"], strict=True))
    for model, old, new in (("llama-3.1-8b", "e0", "e1"), ("qwen2.5-7b", "e3", "e2")):
        assert {engine for name, _, engine in sent if name == model} == {old, new}
        assert {engine for name, arrival, engine in sent if name == model and arrival > at[old, "draining"]} == {new}
    assert {engine for name, _, engine in sent if name == "llama-3.2-3b"} == {"e4"}


def test_the_simulator_and_vllms_scheduler_change_engines_at_the_same_times(tmp_path: Path) -> None:
    text = SWAPPED + "sim: {noise: off}\nreplay: {engines: virtual}\n"
    simulated, real = simulate(scenario(text, tmp_path)), served(text, tmp_path)
    columns = ("engine", "state", "gpus")
    assert [simulated.fleet.column(name).to_pylist() for name in columns] == [
        real.fleet.column(name).to_pylist() for name in columns
    ]
    times = zip(simulated.fleet.column("time_s").to_pylist(), real.fleet.column("time_s").to_pylist(), strict=True)
    assert all(abs(one - other) < 0.1 for one, other in times)
    changes = [
        [(entry["now_s"], entry["changes"]) for entry in record.decisions or () if entry["point"] == "scaler" and entry["changes"]]
        for record in (simulated, real)
    ]
    assert changes[0] == changes[1]
