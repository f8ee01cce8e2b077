"""Scenarios for runs on vLLM, as text, and a trace whose prompts share content."""

from __future__ import annotations

import json
import random
from pathlib import Path

from policies.redecide import redecide_record
from replay.run import replay
from traces.record import Record
from traces.scenario import Scenario, load_scenario

VIRTUAL = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 2}
engine: {max_num_seqs: 48, max_num_batched_tokens: 512, num_gpu_blocks_override: 420}
workload:
  - name: chat
    trace:
      prompt_tokens: {lognormal: {mean: 300, sigma: 0.8, max: 2000}}
      output_tokens: {lognormal: {mean: 100, sigma: 0.8, max: 400}}
    rate: 40/s
    priority: 1
    slo: {ttft: 500ms, tpot: 30ms}
  - {name: batch, trace: {prompt_tokens: 600, output_tokens: 60}, load: {concurrency: 6}, requests: 30, offline: true}
duration: 2.5s
drain: 20s
sim: {noise: off}
replay: {engines: virtual}
decisions: full
seed: 5
"""

IN_PROCESS = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 2}
engine: {max_num_seqs: 8, max_num_batched_tokens: 128, num_gpu_blocks_override: 40, block_size: 32, max_model_len: 512}
workload:
  - name: chat
    trace: {prompt_tokens: {uniform: {min: 20, max: 250}}, output_tokens: {uniform: {min: 4, max: 16}}}
    rate: 40/s
    slo: {ttft: 500ms, tpot: 30ms}
duration: 300ms
drain: 60s
replay: {engines: in-process, shape: tiny, deadline: 10s}
decisions: full
seed: 3
"""


def scenario(text: str, folder: Path, *sets: str) -> Scenario:
    path = folder / "scenario.yaml"
    path.write_text(text)
    return load_scenario(path, sets)


def shared_prefix_trace(path: Path) -> Path:
    """Conversations that grow turn by turn, as a Mooncake trace: ids of 512 tokens, each turn repeating the earlier ones."""
    rng = random.Random(1)
    rows = []
    for turn in range(160):
        chat, depth = rng.randrange(12), rng.randint(0, 6)
        ids = [0, *(1000 * chat + d for d in range(depth))]
        length = 512 * len(ids) - rng.randint(0, 400)
        rows.append({"timestamp": 25 * turn, "input_length": length, "output_length": rng.randint(1, 60), "hash_ids": ids})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def served(text: str, folder: Path, *sets: str) -> Record:
    """The record of a scenario that was replayed on real engines, after what must hold of every such run.

    Every request has an outcome and, if completed, its traced length; every decision is logged, and a fresh policy decides it again
    byte for byte; no policy failed inside an engine. Engines start in a fraction of a second where vLLM is imported already.
    """
    record = Record.read(replay(scenario(text, folder, *sets)).write(folder / "record").path or folder)
    found = redecide_record(record.manifest, record.decisions or ())
    assert found.same, found.differences
    wrong = [text for text in record.manifest["warnings"] if "requests were sent" not in text]  # late: other tests run beside
    assert not wrong, wrong
    table = record.requests.to_pydict()
    assert set(table["outcome"]) <= {"completed", "shed", "unfinished"}
    lengths = zip(table["outcome"], table["output_tokens"], strict=True)
    assert all(tokens > 0 for outcome, tokens in lengths if outcome == "completed")
    return record
