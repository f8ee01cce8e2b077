"""Drafts in managed servers: from n-grams, and from a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.replaying import IN_PROCESS, served
from tests.ports import free_ports

METHODS = {"e0": "ngram", "e1": "draft_model"}


def pool(method: str) -> str:
    drafts = f"{{method: {method}, num_speculative_tokens: 4, acceptance: [0.9, 0.8, 0.7, 0.6]}}"
    return f"{{name: {method.replace('_', '-')}, gpu: h200, gpus: 1, engine: {{speculative: {drafts}}}}}"


def test_a_speculator_chooses_what_the_engines_of_managed_servers_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fleet = f"fleet=[{', '.join(map(pool, METHODS.values()))}]"
    servers = ["replay.engines=managed", f"replay.port={free_ports(len(METHODS))}"]
    record = served(IN_PROCESS, tmp_path, fleet, *servers, "policy.router=round-robin", "policy.speculator={fixed-k: {k: 2}}")
    asked = {entry["engine"] for entry in record.decisions or () if entry["point"] == "speculator"}
    assert asked == set(METHODS)
    requests = record.requests.to_pydict()
    for engine in METHODS:
        rows = [row for row, name in enumerate(requests["engine"]) if name == engine]
        drafted, accepted = (sum(requests[name][row] for row in rows) for name in ("drafted_tokens", "accepted_tokens"))
        assert drafted > accepted > 0, (engine, drafted, accepted)
