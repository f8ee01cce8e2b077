"""The grid of steps that is measured."""

from __future__ import annotations

import json

import pytest

from policies.latency import StepShape
from replay.samples import Room, Sample, from_data, grid, to_data

SMALL = Room(step_tokens=512, seqs=32, window=2048, kv_tokens=12_800)
LARGE = Room(step_tokens=8192, seqs=512, window=131_072, kv_tokens=900_000)


@pytest.mark.parametrize("room", [SMALL, LARGE])
def test_every_probe_fits_the_engine(room: Room) -> None:
    probes = list(grid(room))
    assert {probe.kind for probe in probes} == {"prefill", "prefill-context", "decode", "mixed"}
    for probe in probes:
        everyone = [*probe.requests, *probe.later]
        assert len(everyone) <= room.seqs
        assert sum(map(sum, everyone)) <= room.kv_tokens
        assert all(prompt + output <= room.window for prompt, output in everyone)
    assert len(probes) < 120


def test_samples_survive_json() -> None:
    samples = [Sample("decode", 2, StepShape(0, 0.0, 0, 3, 300), 0.5)]
    assert from_data(json.loads(json.dumps(to_data(samples, {"gpu": "none"})))) == samples
