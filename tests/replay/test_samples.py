"""The grid of steps that is measured, and what a few layers say of a whole model."""

from __future__ import annotations

import json

import pytest

from policies.latency import StepShape
from replay.samples import Room, Sample, from_data, grid, to_data, whole

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


def test_a_whole_model_lies_on_the_line_through_its_parts() -> None:
    shape, other = StepShape(8), StepShape(decode_seqs=2, decode_context=100)
    samples = [Sample("prefill", layers, shape, 1e-3 + 2e-4 * layers + noise) for layers in (1, 2, 4) for noise in (-1e-6, 0, 1e-6)]
    samples += [Sample("decode", 1, other, 1.0)]
    (found,) = whole(samples, 32)
    assert (found.layers, found.shape) == (32, shape)
    assert found.seconds == pytest.approx(1e-3 + 32 * 2e-4)


def test_a_layer_takes_no_less_than_nothing() -> None:
    samples = [Sample("prefill", layers, StepShape(8), seconds) for layers, seconds in ((1, 2.0), (2, 1.0))]
    assert whole(samples, 80)[0].seconds == pytest.approx(1.5)


def test_one_number_of_layers_says_nothing_of_a_whole_model() -> None:
    with pytest.raises(ValueError, match="two numbers of layers"):
        whole([Sample("prefill", 2, StepShape(8), 1.0)], 32)


def test_samples_survive_json() -> None:
    samples = [Sample("decode", 2, StepShape(0, 0.0, 0, 3, 300), 0.5)]
    assert from_data(json.loads(json.dumps(to_data(samples, {"gpu": "none"})))) == samples
