"""Real vLLM engines with a small random-weight model on the CPU, several in one process: what was decided is decided again."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path

import pytest

from policies.redecide import redecide_record
from policies.registry import names
from replay.run import replay
from tests.parity.replaying import IN_PROCESS, scenario
from traces.record import Record

STACKS = list(zip_longest(names("router"), names("batcher"), fillvalue="vllm"))
"""Every router and every batcher at least once."""


@pytest.mark.parametrize(("router", "batcher"), STACKS)
def test_decisions_on_real_engines_are_decided_again_byte_for_byte(router: str, batcher: str, tmp_path: Path) -> None:
    loaded = scenario(IN_PROCESS, tmp_path, f"policy.router={router}", f"policy.batcher={batcher}")
    record = Record.read(replay(loaded).write(tmp_path / "record").path or tmp_path)
    found = redecide_record(record.manifest, record.decisions or ())
    assert found.same, found.differences
    points = [entry["point"] for entry in record.decisions or ()]
    assert points.count("router") >= len(record.requests)
    assert points.count("batcher") >= len(record.requests)


def test_every_request_is_served_to_its_traced_length(tmp_path: Path) -> None:
    loaded = scenario(IN_PROCESS, tmp_path)
    record = replay(loaded)
    table = record.requests.to_pydict()
    assert set(table["outcome"]) == {"completed"}
    assert all(4 <= tokens <= 16 for tokens in table["output_tokens"])
    assert set(table["engine"]) == {"e0", "e1"}
    assert all(queue <= ttft <= e2e for queue, ttft, e2e in zip(table["queue_s"], table["ttft_s"], table["e2e_s"], strict=True))
    steps = record.steps.to_pydict()
    assert sum(steps["prefill_tokens"]) >= sum(table["prompt_tokens"]) - sum(table["cached_tokens"])
    assert sum(steps["decode_tokens"]) == sum(table["output_tokens"]) - len(table["id"])
    assert max(steps["running"]) <= 8
    assert record.manifest["engines"]["e0"]["kv_tokens_capacity"] == 40 * 32
