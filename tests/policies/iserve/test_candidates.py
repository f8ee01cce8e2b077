"""The configuration space and what is estimated of it."""

from collections import Counter

import pytest

from policies.extrapolation import MAVERIQ_MODELS, RTX_A6000_EXTRAPOLATION
from policies.iserve.configuration import split_layers
from policies.iserve.fixed_batch import FixedBatch

A6000_BYTES = 47.4 * 2**30
ENGINE = FixedBatch(RTX_A6000_EXTRAPOLATION, "a6000", A6000_BYTES, usd_per_gpu_hour=0.5)


def candidates(model: str, gpus: int = 8):
    plain = {"fp16": ("fp16",), "int8": ("fp16",), "int4": ("fp16",)}
    precisions = {} if model.startswith("llama") else {"precisions": plain}
    return ENGINE.candidates(model, MAVERIQ_MODELS[model], gpus=gpus, **precisions)


@pytest.mark.parametrize(("model", "published"), [("llama-2-70b", 97), ("falcon-40b", 44), ("gptj-6b", 45), ("falcon-7b", 24)])
def test_as_many_configurations_fit_eight_gpus_as_were_measured(model, published):
    assert len(candidates(model)) == published


def test_the_ones_that_fit_are_those_that_were_measured(shared_data):
    import json

    rows = json.loads((shared_data / "papers" / "maveriq_profile_summary.json").read_text())
    names = {"float16": "fp16", "int8": "int8", "int4": "int4", "int4_gptq": "int4-g128"}
    measured = {
        (r["tp"], r["pp"], names[r["dtype"]], "int8" if r["int8_kv"] else "fp16") for r in rows if r["model"] == "llama-2-70b"
    }
    ours = {
        (c.tensor_parallel, c.pipeline_parallel, c.precision, c.kv_precision)
        for c in (x.configuration for x in candidates("llama-2-70b"))
    }
    assert ours == measured


@pytest.mark.parametrize("model", sorted(MAVERIQ_MODELS))
def test_intervals_hold_what_was_measured(model, shared_data):
    import json

    rows = json.loads((shared_data / "papers" / "maveriq_profile_summary.json").read_text())
    names = {"float16": "fp16", "int8": "int8", "int4": "int4", "int4_gptq": "int4-g128"}
    measured = {
        (r["tp"], r["pp"], names[r["dtype"]], "int8" if r["int8_kv"] else "fp16"): r["lat"]["20"]
        for r in rows
        if r["model"] == model
    }
    held = []
    for candidate in candidates(model):
        c = candidate.configuration
        if (seconds := measured.get((c.tensor_parallel, c.pipeline_parallel, c.precision, c.kv_precision))) is not None:
            held.append(candidate.latency_s.low <= seconds <= candidate.latency_s.high)
    assert len(held) > 20
    assert sum(held) / len(held) >= 0.85


def test_intervals_widen_with_the_links_between_gpus():
    width = {
        c.configuration.tensor_parallel: c.latency_s.high / c.latency_s.low
        for c in candidates("llama-2-70b")
        if c.configuration.pipeline_parallel == 1 and c.configuration.precision == "int4"
    }
    assert width[1] < width[4] < width[8]


def test_seventy_one_heads_are_not_split():
    assert {c.configuration.tensor_parallel for c in candidates("falcon-7b")} == {1}


def test_a_configuration_that_does_not_fit_is_not_offered():
    offered = Counter(c.configuration.gpus for c in candidates("llama-2-70b") if c.configuration.precision == "fp16")
    assert min(offered) == 3  # 138 GB of weights on GPUs of 48 GB
    assert not candidates("llama-2-70b", gpus=0)


def test_every_estimate_has_an_interval_around_it():
    for c in candidates("llama-2-13b"):
        for estimate in (c.latency_s, c.memory_bytes, c.requests_per_s, c.usd_per_mtok):
            assert 0 < estimate.low <= estimate.value <= estimate.high
            assert estimate.low < estimate.high


def test_stages_are_even_unless_room_forces_them():
    assert split_layers(80, [40, 40, 40]) == (27, 27, 26)
    assert split_layers(80, [10, 80, 80]) == (10, 35, 35)
    assert split_layers(80, [30, 30, 20]) == (30, 30, 20)
    assert split_layers(80, [30, 30, 19]) is None


@pytest.mark.parametrize("room", [[1, 2, 3], [6, 0, 0], [5, 5, 5]])
def test_no_layer_is_lost_and_no_room_exceeded(room):
    dealt = split_layers(6, room)
    assert sum(dealt) == 6
    assert all(layers <= most for layers, most in zip(dealt, room, strict=True))
