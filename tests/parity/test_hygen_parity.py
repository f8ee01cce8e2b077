"""HyGen inside vLLM: a budget that the simulator's profiler found keeps vLLM's own scheduler within the tolerance too."""

from __future__ import annotations

from pathlib import Path

import pytest

from replay.run import replay
from sim.profiling import Objective, grid, profile, simulated
from tests.parity.replaying import scenario, served
from traces.metrics import summarise
from traces.record import Record
from traces.tables import floats

CHAT = "{name: chat, trace: {prompt_tokens: 300, output_tokens: 60}, rate: 12/s, slo: {ttft: 1s, tpot: 60ms}}"
BATCH = "{name: batch, trace: {prompt_tokens: 1200, output_tokens: 40}, offline: true, backlog: 500}"
VIRTUAL = f"""
model: llama-3.1-8b
fleet: {{gpu: h200, gpus: 1}}
engine: {{max_num_seqs: 64, max_num_batched_tokens: 512, num_gpu_blocks_override: 2000, enable_prefix_caching: off}}
workload:
  - {CHAT}
  - {BATCH}
policy: {{router: least-loaded, batcher: hygen}}
duration: 12s
warmup: 2s
drain: 0s
sim: {{noise: off}}
replay: {{engines: virtual}}
seed: 5
"""
OBSERVED = "policy.batcher={hygen: {stage: observe}}"
ONLY_OFFLINE = f"workload=[{BATCH}]"
TOLERANCE = 0.2


def p99_gap(record: Record) -> float:
    found = summarise(record).tiers["chat"]["itl_s.p99"].value
    assert found is not None
    return found


def offline_tokens(record: Record) -> float:
    """Output tokens of offline requests."""
    rows = record.requests.to_pydict()
    return float(sum(tokens for tier, tokens in zip(rows["tier"], rows["output_tokens"], strict=True) if tier == "batch"))


def idle_share(record: Record, until_s: float) -> float:
    """The share of the time in which no step ran."""
    return 1 - float(floats(record.steps, "duration_s").sum()) / until_s


@pytest.mark.parametrize("metric", ["itl_s.p99@chat", "itl_s.mean@chat"])
def test_a_profiled_budget_holds_in_vllm_s_scheduler_and_does_more_than_slices_of_time(metric: str, tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(VIRTUAL)
    knob = "policy.batcher.hygen.budget_s"
    measure = simulated(tmp_path / "scenario.yaml", knob, [OBSERVED], ["itl_s.p99@chat", "itl_s.mean@chat"], [5], jobs=1)
    found = profile(measure, grid(0.006, 0.05, 1.15), [Objective(metric, TOLERANCE)])
    assert found.value is not None
    alone = replay(scenario(VIRTUAL, tmp_path, OBSERVED))
    together = replay(scenario(VIRTUAL, tmp_path, f"{knob}={found.value}"))
    pure = replay(scenario(VIRTUAL, tmp_path, ONLY_OFFLINE, "policy.batcher=sarathi"))
    key = metric.partition("@")[0]
    before, after = (summarise(record).tiers["chat"][key].value for record in (alone, together))
    assert before is not None
    assert after is not None
    assert after <= (1 + TOLERANCE) * before
    in_slices = idle_share(alone, 12.0) * offline_tokens(pure)
    assert offline_tokens(together) > 0
    assert offline_tokens(together) >= 3 * in_slices


REAL = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
engine: {max_num_seqs: 16, max_num_batched_tokens: 128, num_gpu_blocks_override: 60, block_size: 32, max_model_len: 512}
workload:
  - name: chat
    trace: {prompt_tokens: {uniform: {min: 20, max: 100}}, output_tokens: 12}
    rate: 30/s
    slo: {ttft: 1s, tpot: 200ms}
  - {name: batch, trace: {prompt_tokens: 60, output_tokens: 8}, offline: true, backlog: 30}
policy: {router: least-loaded, batcher: {hygen: {budget_s: 0.2, spread: 0}}}
duration: 500ms
drain: 60s
replay: {engines: in-process, shape: tiny, deadline: 10s}
decisions: full
seed: 3
"""


def test_real_engines_do_offline_work_beside_online_work_and_every_decision_is_made_again_alike(tmp_path: Path) -> None:
    record = served(REAL, tmp_path)
    assert offline_tokens(record) == 30 * 8
    reasons = {entry["reason"] for entry in record.decisions or () if entry["point"] == "batcher"}
    assert "online first, offline within the budget" in reasons


def test_a_predictor_that_knows_another_machine_takes_offline_work_off_and_says_so(tmp_path: Path) -> None:
    """The fingerprint is an H200's, the engine runs on a CPU: steps take many times what is predicted."""
    record = served(REAL, tmp_path, "policy.batcher={hygen: {budget_s: 0.2}}")
    reasons = {entry["reason"] for entry in record.decisions or () if entry["point"] == "batcher"}
    assert "offline off: step times are not those that were predicted" in reasons
    assert offline_tokens(record) == 30 * 8, "it comes back once the predictor is scaled, or no online request is left"
