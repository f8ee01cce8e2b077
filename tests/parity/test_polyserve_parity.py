"""PolyServe on real vLLM engines: tiers, a pool to scale from, dynamic chunks, and the same decisions when they are made again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from policies.polyserve.lengths import PRIOR_WEIGHT
from policies.redecide import redecide_record
from tests.parity.replaying import served

# Three small engines, one of them parked, and more requests than the seats of one engine hold.
TWO_TIERS = """
model: llama-3.1-8b
fleet:
  - {name: tight, gpu: h200, gpus: 1, tier: 20ms}
  - {name: loose, gpu: h200, gpus: 1, tier: 100ms}
  - {name: pool, gpu: h200, gpus: 1, parked: 1, start_up: 20ms}
engine: {max_num_seqs: 4, max_num_batched_tokens: 128, num_gpu_blocks_override: 40, block_size: 32, max_model_len: 512}
workload:
  - name: chat
    trace: {prompt_tokens: {uniform: {min: 20, max: 200}}, output_tokens: {uniform: {min: 4, max: 16}}}
    rate: 80/s
    slo_mix:
      - {share: 50%, tier: tight, slo: {ttft: 500ms, tpot: 20ms}}
      - {share: 50%, tier: loose, slo: {ttft: 500ms, tpot: 100ms}}
policy: polyserve
duration: 300ms
drain: 60s
replay: {engines: in-process, shape: tiny, deadline: 10s}
decisions: full
seed: 3
"""


def test_two_tiers_on_three_engines_are_served_and_decided_again(tmp_path: Path) -> None:
    record = served(TWO_TIERS, tmp_path)
    rows = record.requests.to_pydict()
    assert set(rows["outcome"]) == {"completed"}
    tight = {engine for engine, tier in zip(rows["engine"], rows["tier"], strict=True) if tier == "tight"}
    assert "e0" in tight
    assert "e1" not in tight  # no request goes to a looser tier
    points = Counter(entry["point"] for entry in record.decisions or ())
    told = [done["id"] for entry in record.decisions or () if entry["point"] == "router" for done in entry["completed"]]
    assert told
    assert len(told) == len(set(told))  # once each
    lengths = redecide_record(record.manifest, record.decisions or ()).policies["router"]._lengths
    assert sum(count - PRIOR_WEIGHT for count, _ in lengths._means.values()) == len(told)
    assert all(4 <= mean <= 16 for _, mean in lengths._means.values())
    assert points["router"] >= len(rows["id"])
    assert points["scaler"] >= 1
    assert points["batcher"] >= 1


def test_the_fixed_fleet_deals_its_engines_out_to_both_tiers(tmp_path: Path) -> None:
    scaler = "{router: polyserve, scaler: {polyserve-fixed: {period_s: 0.1, sample_s: 0.02}}, batcher: polyserve}"
    record = served(TWO_TIERS, tmp_path, f"policy={scaler}", "fleet={gpu: h200, gpus: 3}", "engine.max_num_seqs=8")
    assert set(record.requests.column("outcome").to_pylist()) == {"completed"}
    points = Counter(entry["point"] for entry in record.decisions or ())
    assert points["scaler"] >= 5
