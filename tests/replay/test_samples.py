"""The grid of steps that is measured."""

from __future__ import annotations

import json

import pytest

from policies.latency import StepShape
from replay.samples import Room, Sample, from_data, grid, to_data

SMALL = Room(step_tokens=512, seqs=32, window=2048, kv_tokens=12_800)
SHORT = Room(step_tokens=1024, seqs=64, window=512, kv_tokens=6_400)
LARGE = Room(step_tokens=8192, seqs=512, window=131_072, kv_tokens=900_000)


@pytest.mark.parametrize("room", [SMALL, SHORT, LARGE])
def test_every_probe_fits_the_engine(room: Room) -> None:
    probes = list(grid(room))
    in_chunks = {"prefill-context"} if room.window > 2 * room.step_tokens else set()
    assert {probe.kind for probe in probes} == {"prefill", "decode", "mixed", *in_chunks}
    for probe in probes:
        everyone = [*probe.requests, *probe.later]
        assert len(everyone) <= room.seqs
        assert sum(map(sum, everyone)) <= room.kv_tokens
        assert all(prompt + output <= room.window for prompt, output in everyone)
    assert len(probes) < 120


def test_of_a_short_window_the_end_is_reached() -> None:
    contexts = {prompt + output for probe in grid(SHORT) if probe.kind == "decode" for prompt, output in probe.requests}
    assert max(contexts) == SHORT.window


@pytest.mark.parametrize("room", [SMALL, SHORT, LARGE])
def test_steps_with_a_few_tokens_more_than_decodes_ever_have_are_among_them(room: Room) -> None:
    """Else what any prefill costs cannot be told from what tokens cost."""
    most = max(len(probe.requests) for probe in grid(room) if probe.kind == "decode")
    beside = [len(probe.requests) + probe.later[0][0] for probe in grid(room) if probe.kind == "mixed"]
    assert any(most < tokens <= most + 64 for tokens in beside)


def test_samples_survive_json() -> None:
    samples = [Sample("decode", 2, StepShape(0, 0.0, 0, 3, 300), 0.5)]
    assert from_data(json.loads(json.dumps(to_data(samples, {"gpu": "none"})))) == samples
