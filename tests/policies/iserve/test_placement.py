"""Engines are put on GPUs by load and room; the heuristic is held against the exact optimum."""

import random
from dataclasses import replace
from itertools import product

import pytest

from policies.extrapolation import MAVERIQ_MODELS
from policies.intent import Intent
from policies.iserve.baselines import first_fit
from policies.iserve.intents import ranked, score_of
from policies.iserve.optimum import Infeasible, Wish, optimum
from policies.iserve.placement import HYBRID, LEAST_LOADED, PACKING, Device, Full, place, place_all, place_first, taken
from tests.policies.iserve.test_candidates import candidates


def devices(*loads: float, free_bytes: float = 45e9) -> list[Device]:
    return [Device(f"g{i}", "a6000", free_bytes, load) for i, load in enumerate(loads)]


def one(model: str, tp: int, pp: int = 1, precision: str = "int4"):
    return next(
        c
        for c in candidates(model)
        if (
            c.configuration.tensor_parallel,
            c.configuration.pipeline_parallel,
            c.configuration.precision,
            c.configuration.kv_precision,
        )
        == (tp, pp, precision, "fp16")
    )


def test_hybrid_takes_the_most_loaded_below_its_threshold():
    assert place(one("llama-2-7b", 1), devices(0.1, 0.6, 0.9, 0.3), HYBRID).devices == ("g1",)
    assert place(one("llama-2-7b", 1), devices(0.1, 0.6, 0.9, 0.3), PACKING).devices == ("g2",)
    assert place(one("llama-2-7b", 1), devices(0.1, 0.6, 0.9, 0.3), LEAST_LOADED).devices == ("g0",)


def test_where_too_few_are_below_it_the_least_loaded_others_fill_up():
    assert set(place(one("llama-2-7b", 2), devices(0.9, 0.5, 0.8, 0.95)).devices) == {"g1", "g2"}


def test_a_gpu_without_room_is_passed_over():
    crowded = [replace(d, free_bytes=1e9) if d.id == "g1" else d for d in devices(0.1, 0.6)]
    assert place(one("llama-2-7b", 1), crowded).devices == ("g0",)


def test_stages_follow_the_room_that_is_left():
    uneven = [Device("small", "a6000", 12e9), Device("large", "a6000", 45e9)]
    placed = place(one("llama-2-70b", 1, 2), uneven)
    layers = dict(zip(placed.devices, placed.layers, strict=True))
    assert sum(placed.layers) == 80
    assert layers["small"] < layers["large"]
    free = {d.id: d.free_bytes for d in uneven}
    assert all(size <= free[d] for d, size in zip(placed.devices, placed.bytes_per_device, strict=True))


def test_the_next_best_configuration_is_tried_when_the_best_does_not_fit():
    offered = ranked(candidates("llama-2-70b"), Intent("min_latency"))
    assert offered[0].configuration.gpus == 8
    assert place_first(offered, devices(0, 0)).candidate.configuration.gpus <= 2
    with pytest.raises(Full):
        place_first(offered, devices(0, free_bytes=10e9))


def test_first_fit_takes_the_fewest_gpus_that_hold_a_model_at_16_bits():
    placed = first_fit([candidates("llama-2-70b"), candidates("gptj-6b")], devices(*[0.0] * 4))
    assert [len(replicas) for replicas in placed] == [1, 1]
    assert [replicas[0].candidate.configuration.gpus for replicas in placed] == [4, 2]  # what is left of one does not hold GPT-J
    assert {replicas[0].candidate.configuration.precision for replicas in placed} == {"fp16"}


def test_memory_and_load_add_up():
    seat = one("llama-2-7b", 2)
    before = devices(0.2, 0.2)
    after = taken(before, place(seat, before), rate_per_s=1.0)
    assert all(b.free_bytes < a.free_bytes for a, b in zip(before, after, strict=True))
    assert after[0].load == pytest.approx(0.2 + seat.latency_s.value)


def wishes(models: list[str], seed: int, goal: str = "min_latency") -> list[Wish]:
    rng = random.Random(seed)
    intent = Intent(goal)
    result = []
    for model in models:
        offered = ranked(candidates(model), intent)
        result.append(Wish(offered, [score_of(c, intent) for c in offered], rng.uniform(0.02, 0.3)))
    return result


def fits(placed, room: list[Device], rates: list[float]) -> bool:
    left = list(room)
    for engine, rate in zip(placed, rates, strict=True):
        left = taken(left, engine, rate)
    return all(d.free_bytes >= -1 and d.load <= 1 + 1e-9 for d in left)


def test_the_optimum_fits_and_is_no_worse_than_the_heuristic():
    asked = wishes(list(MAVERIQ_MODELS), seed=3)
    room = devices(*[0.0] * 4)
    best = optimum(asked, room)
    assert fits(best.placed, room, [w.rate_per_s for w in asked])
    heuristic = place_all([(w.candidates, w.rate_per_s) for w in asked], room)
    if all(heuristic):
        assert best.score <= sum(p.candidate.latency_s.value for p in heuristic) + 1e-9
    assert best.bound <= best.score


def test_the_optimum_is_that_of_trying_everything():
    room = devices(0.0, 0.0, free_bytes=20e9)
    asked = [
        Wish(w.candidates[:12], w.scores[:12], 0.1)
        for w in (Wish(list(reversed(x.candidates)), list(reversed(x.scores))) for x in wishes(["llama-2-7b", "gptj-6b"], 0))
    ]
    score = {
        sum(w.scores[i] for w, i in zip(asked, choice, strict=True))
        for choice in product(range(12), repeat=2)
        if all(place_all([([w.candidates[i]], 0.1) for w, i in zip(asked, choice, strict=True)], room, LEAST_LOADED))
    }
    assert optimum(asked, room).score == pytest.approx(min(score))


def test_what_fits_nowhere_is_infeasible():
    with pytest.raises(Infeasible):
        optimum(wishes(["llama-2-70b"] * 3, 0), devices(0.0, free_bytes=45e9))


def test_twenty_four_models_on_sixteen_gpus_are_solved_to_the_bound():
    asked = wishes(list(MAVERIQ_MODELS) * 4, seed=0)
    best = optimum(asked, devices(*[0.0] * 16))
    assert fits(best.placed, devices(*[0.0] * 16), [w.rate_per_s for w in asked])
    assert best.gap < 1e-3
