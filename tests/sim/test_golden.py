"""A run small enough to work out by hand, from workload to metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim.run
from policies.fingerprint import Fingerprint
from policies.types import SLO
from traces.build import Built
from traces.metrics import summarise
from traces.record import Record
from traces.scenario import load_scenario
from traces.workload import RequestClass, Workload

MS = 1e-3

# A step takes 10 ms plus 0.1 ms per token. Two requests at most run at once, blocks hold 16 tokens.
#
#          arrives  prompt  output        step  starts   batch                              takes          ends
#   A         0 ms      50       3           0   0       A prefills 50                      10 + 5   ms    15.0
#   B        12 ms      30       2           1  15.0     A decodes, B prefills 30           10 + 3.1 ms    28.1
#   C        20 ms     100       1           2  28.1     A and B decode; both finish        10 + 0.2 ms    38.3
#                                            3  38.3     C prefills 100 and finishes        10 + 10  ms    58.3
SCENARIO = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
engine: {max_num_seqs: 2, max_num_batched_tokens: 100, max_model_len: 1024}
workload: [{name: chat, trace: azure-2023-conv, requests: 3}]
policy: {router: round-robin, batcher: vllm}
sim: {noise: off}
decisions: full
"""


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    (tmp_path / "by-hand.yaml").write_text(SCENARIO)
    klass = RequestClass("chat", "chat", "llama-3.1-8b", slo=SLO(ttft_s=30 * MS, tpot_s=11 * MS))
    workload = Workload.make([0.0, 12 * MS, 20 * MS], [50, 30, 100], [3, 2, 1], classes=(klass,))
    fingerprint = Fingerprint.linear(overhead_s=10 * MS, per_token_s=0.1 * MS)
    monkeypatch.setattr(sim.run, "build_workload", lambda _: Built(workload, {}))
    monkeypatch.setattr(sim.run, "pool_fingerprint", lambda *_: fingerprint)
    return sim.run.simulate(load_scenario(tmp_path / "by-hand.yaml"))


def column(record: Record, table: str, name: str) -> list[object]:
    return getattr(record, table).column(name).to_pylist()


def ms(*values: float) -> object:
    return pytest.approx([value * MS for value in values], abs=1e-12)


def test_latencies(record: Record) -> None:
    assert column(record, "requests", "queue_s") == ms(0, 15 - 12, 38.3 - 20)
    assert column(record, "requests", "ttft_s") == ms(15, 28.1 - 12, 58.3 - 20)
    assert column(record, "requests", "e2e_s") == ms(38.3, 38.3 - 12, 58.3 - 20)
    tpot = column(record, "requests", "tpot_s")
    assert tpot[:2] == ms((38.3 - 15) / 2, 38.3 - 28.1)
    assert tpot[2] is None
    # due: A 30, 41, 52; B 42, 53; C 50. A's second token is the least early: 28.1 − 41
    assert column(record, "requests", "dslo_lateness_s") == ms(28.1 - 41, 28.1 - 42, 58.3 - 50)
    assert column(record, "requests", "outcome") == ["completed"] * 3
    assert column(record, "requests", "output_tokens") == [3, 2, 1]


def test_steps(record: Record) -> None:
    assert column(record, "steps", "start_s") == ms(0, 15, 28.1, 38.3)
    assert column(record, "steps", "duration_s") == ms(15, 13.1, 10.2, 20)
    assert column(record, "steps", "prefill_tokens") == [50, 30, 0, 100]
    assert column(record, "steps", "prefill_attention") == [50 * 25, 30 * 15, 0, 100 * 50]
    assert column(record, "steps", "decode_tokens") == [0, 1, 2, 0]
    assert column(record, "steps", "decode_context") == [0, 51, 52 + 31, 0]
    assert column(record, "steps", "running") == [1, 2, 2, 1]
    assert column(record, "steps", "waiting") == [0, 0, 1, 0]
    # A's 50 tokens fill 4 blocks, B's 30 fill 2; both have left when step 2 ends, and C when step 3 does
    assert column(record, "steps", "kv_tokens_used") == [64, 96, 0, 0]


def test_gaps(record: Record) -> None:
    # A: 13.1 and 10.2 ms, B: 10.2 ms
    assert column(record, "gaps", "count") == [2, 1]
    assert column(record, "gaps", "gap_s") == pytest.approx([10.2 * MS, 13.1 * MS], rel=0.0026)


def test_metrics(record: Record) -> None:
    metrics = summarise(record).metrics
    assert metrics["attainment"].value == pytest.approx(1 / 3)  # A misses TPOT (11.65 > 11), C misses TTFT (38.3 > 30)
    assert metrics["ttft_s.mean"].value == pytest.approx((15 + 16.1 + 38.3) / 3 * MS)
    assert metrics["tpot_s.mean"].value == pytest.approx((11.65 + 10.2) / 2 * MS)
    assert metrics["requests.completed"].value == 3
    dslo = summarise(record, verdict="dslo").metrics
    assert dslo["attainment"].value == pytest.approx(2 / 3)  # only C has a late token


def test_decisions_name_what_was_seen(record: Record) -> None:
    assert record.decisions is not None
    entries = [e for e in record.decisions if e["point"] == "router"]
    assert [(e["decision"], e["engine"], e["request"]["id"]) for e in entries] == [("Assign", "e0", i) for i in range(3)]
    seen = [(e["engines"][0]["running_count"], e["engines"][0]["waiting_count"]) for e in entries]
    assert seen == [(0, 0), (1, 0), (2, 0)]  # at 20 ms, within step 1, A and B run
    plans = [(e["engine"], e["token_budget"], e["now_s"]) for e in record.decisions if e["point"] == "batcher"]
    assert plans == [("e0", 100, pytest.approx(at * MS)) for at in (0, 15, 28.1, 38.3)]  # asked again whenever a phase changed


def test_manifest_identifies_the_run(record: Record) -> None:
    manifest = record.manifest
    assert manifest["scenario"]["name"] == "by-hand"
    assert set(manifest["hashes"]) == {"code", "config", "trace", "fingerprint"}
    assert manifest["window_s"][0] == 0.0
    assert manifest["window_s"][1] == pytest.approx(20 * MS)
    assert manifest["end_s"] == pytest.approx(58.3 * MS)
