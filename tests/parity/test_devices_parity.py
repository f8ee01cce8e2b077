"""Three models on two devices of a core each: intents are swapped, and managed vLLM servers exchanged without losing a request."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.parity.replaying import served
from tests.parity.test_managed_parity import descendants
from tests.ports import free_ports

THREE_ON_TWO = """
model: llama-3.1-8b
inventory: {h200: 2}
fleet:
  - {name: chat, gpu: h200, gpus: 1, share: 33%}
  - {name: chat-fp8, gpu: h200, gpus: 1, share: 33%, precision: fp8, parked: 1}
  - {name: code, model: qwen2.5-7b, gpu: h200, gpus: 1, share: 33%, parked: 1}
  - {name: code-fp8, model: qwen2.5-7b, gpu: h200, gpus: 1, share: 33%, precision: fp8}
  - {name: tags, model: llama-3.2-3b, gpu: h200, gpus: 1, share: 33%}
engine: {max_num_seqs: 8, max_num_batched_tokens: 128, num_gpu_blocks_override: 40, block_size: 32, max_model_len: 512}
workload:
  - {name: chat, trace: {prompt_tokens: 60, output_tokens: 100}, load: {concurrency: 1}, requests: 30}
  - {name: code, model: qwen2.5-7b, trace: {prompt_tokens: 100, output_tokens: 220}, load: {concurrency: 1}, requests: 50}
  - {name: tags, model: llama-3.2-3b, trace: {prompt_tokens: 30, output_tokens: 100}, load: {concurrency: 1}, requests: 20}
intents:
  - {model: llama-3.1-8b, goal: min_latency, accuracy: 99.9%}
  - {model: qwen2.5-7b, goal: min_latency}
  - {model: llama-3.1-8b, goal: min_latency, at: 2s}
  - {model: qwen2.5-7b, goal: min_latency, accuracy: 99.9%, at: 2s}
policy: {stack: iserve, scaler: {iserve: {period_s: 0.5, watch_s: 0.1, window_s: 10}}}
duration: 5min
drain: 60s
replay:
  engines: managed
  shape: {llama-3.1-8b: small, qwen2.5-7b: mini, llama-3.2-3b: tiny}
  deadline: 10s
decisions: full
seed: 3
"""
"""The two new servers come up at the same time, one on each device. The load takes a quarter of a minute at full speed, which it
does not have while servers start on its cores: it outlasts them."""


@contextmanager
def watched_cores() -> Iterator[dict[str, set[int]]]:
    """By the port of each server that is started meanwhile: cores that it and its processes may run on, as last seen."""
    seen: dict[str, set[int]] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            for pid in descendants(os.getpid()):
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                    if "replay.vllm_serve" in words:
                        cores = set[int]().union(*(os.sched_getaffinity(one) for one in (pid, *descendants(pid))))
                        seen[words[words.index("--port") + 1]] = cores
                except (OSError, ValueError):
                    continue

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def test_swapped_intents_exchange_pinned_servers_without_losing_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = sorted(os.sched_getaffinity(0))
    if len(there) < 2:
        pytest.skip("two devices are two cores, and there is one")
    monkeypatch.chdir(tmp_path)
    port = free_ports(5)
    with watched_cores() as devices:
        record = served(THREE_ON_TWO, tmp_path, f"replay.cores=[[{there[0]}], [{there[1]}]]", f"replay.port={port}")

    assert set(record.requests.column("outcome").to_pylist()) == {"completed"}
    assert {len(cores) for cores in devices.values()} == {1}, "a server and all its processes are on one core"
    assert len(devices) == 5
    assert {core for cores in devices.values() for core in cores} == set(there[:2]), "both devices serve"
    assert devices[str(port + 1)] != devices[str(port + 2)], "the new servers came up on the two devices"

    rows = record.fleet.to_pydict()
    at = {(e, s): t for t, e, s in zip(rows["time_s"], rows["engine"], rows["state"], strict=True)}
    assert record.manifest["parked"] == "stop"
    assert len(record.manifest["start_ups_s"]) == 2
    for new, old in (("e1", "e0"), ("e2", "e3")):
        assert 2 <= at[new, "starting"] < at[new, "active"] <= at[old, "draining"] <= at[old, "parked"]

    requests = record.requests.to_pydict()
    sent = list(zip(requests["model"], requests["arrival_s"], requests["engine"], strict=True))
    for model, old, new in (("llama-3.1-8b", "e0", "e1"), ("qwen2.5-7b", "e3", "e2")):
        assert {engine for name, _, engine in sent if name == model} == {old, new}
        assert {engine for name, arrival, engine in sent if name == model and arrival > at[old, "draining"]} == {new}
    assert {engine for name, _, engine in sent if name == "llama-3.2-3b"} == {"e4"}
