"""MaverIQ's figures: the world that they share, and what they show."""

import math

import numpy as np
import pytest

from figures.frame import produce
from figures.gallery import chosen, figure, groups
from figures.iserve.measured import errors, rows
from figures.iserve.world import LARGE, PER_MINUTE, REGULAR, TWENTY_ONE, arrivals, attained, offered, placed_by, run, slo_s
from figures.runner import SweepRunner
from policies.intent import Intent

RATE = PER_MINUTE * 0.1 / 30


def test_arrivals_are_the_traces_compressed_two_to_one_and_the_same_for_every_system():
    asked = arrivals(LARGE, 0.2, seed=1)
    assert len(asked.time_s) == pytest.approx(30 * PER_MINUTE * 0.2, rel=0.1)
    assert asked.seconds == pytest.approx(900, rel=0.02)
    assert np.array_equal(asked.time_s, arrivals(REGULAR, 0.2, seed=1).time_s)
    assert not np.array_equal(asked.time_s, arrivals(LARGE, 0.2, seed=2).time_s)


@pytest.mark.parametrize("system", ["iServe", "AlpaServe", "AlpaServe*", "Vidur-Search", "Accelerate"])
def test_no_system_puts_more_on_a_gpu_than_fits(system):
    used = {}
    for replicas in placed_by(system, REGULAR, RATE):
        for placed in replicas:
            for device, size in zip(placed.devices, placed.bytes_per_device, strict=True):
                used[device] = used.get(device, 0.0) + size
    assert max(used.values()) <= 47.4 * 2**30


def test_baselines_keep_to_16_bits_and_iserve_does_not_have_to():
    for system in ("AlpaServe", "AlpaServe*", "Vidur-Search", "Accelerate"):
        precisions = {p.candidate.configuration.precision for replicas in placed_by(system, LARGE, RATE) for p in replicas}
        assert precisions == {"fp16"}
    assert "int4" in {p.candidate.configuration.precision for replicas in placed_by("iServe", LARGE, RATE) for p in replicas}


def test_the_starred_variant_splits_by_layers_alone():
    for replicas in placed_by("AlpaServe*", REGULAR, RATE):
        assert all(p.candidate.configuration.tensor_parallel == 1 for p in replicas)


def test_alpaserve_leaves_no_model_out_that_still_fits():
    assert all(placed_by("AlpaServe", LARGE, RATE))


def test_a_quality_floor_keeps_iserve_at_16_bits():
    placements = placed_by("iServe", LARGE[:1], RATE, Intent("min_latency", accuracy=0.99))
    assert placements[0][0].candidate.configuration.precision == "fp16"


def test_vidur_search_takes_the_most_requests_per_dollar_within_the_limit():
    ((placed,),) = placed_by("Vidur-Search", ("llama-2-7b",), RATE)
    half = [c for c in offered("llama-2-7b") if c.configuration.precision == c.configuration.kv_precision == "fp16"]
    within = [c for c in half if c.latency_s.value <= slo_s("llama-2-7b", 2.5)]
    assert placed.candidate.configuration == max(within, key=lambda c: c.requests_per_s.value / c.usd_per_hour).configuration


def test_fingerprints_and_equations_reproduce_the_papers_error(shared_data):
    found = errors()["MaverIQ's equations"]
    assert len(found) == 412
    assert np.median(found) == pytest.approx(4.39, abs=0.01)


def test_without_the_measurements_the_figure_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("figures.iserve.measured.FOLDER", tmp_path)
    rows.cache_clear()
    try:
        made = produce(figure("iserve-profiling"), SweepRunner(quick=True), tmp_path)
    finally:
        rows.cache_clear()
    assert "not at hand" in made.caption
    assert made.rows[0].verdict == "cannot tell"
    assert all(row.ours.value is not None for row in made.rows[1:])


def test_slos_grow_with_their_scale():
    assert slo_s("llama-2-70b", 2.5) == pytest.approx(2.5 * (1.0318 + 20 * 0.20432))


def test_who_is_not_served_has_missed_its_slo():
    placements = [[], *placed_by("iServe", LARGE[1:], RATE)]
    asked = arrivals(LARGE, 0.1, seed=1)
    served = run(placements, asked)
    missing = np.mean(asked.model == 0)
    assert np.isnan(served.end_s[asked.model == 0]).all()
    assert attained(served, asked, LARGE, 7.5) <= 1 - missing + 1e-9


def test_the_memory_intent_loads_all_21_models_and_the_latency_intent_does_not():
    loaded = {goal: sum(map(bool, placed_by("iServe", TWENTY_ONE, RATE, Intent(goal)))) for goal in ("min_latency", "min_memory")}
    assert loaded["min_memory"] == 21
    assert loaded["min_latency"] < 21


def test_offered_configurations_are_the_measured_ones():
    assert len(offered("llama-2-70b")) == 97


@pytest.mark.parametrize("name", groups()["iserve"])
def test_every_figure_is_made_with_its_data_and_table(name, tmp_path):
    made = produce(figure(name), SweepRunner(quick=True), tmp_path)
    assert {path.suffix for path in made.files} >= {".png", ".svg", ".csv", ".md", ".json"}
    assert made.rows
    assert all(row.ours.value is not None and math.isfinite(row.ours.value) for row in made.rows)
    assert "policies/extrapolation" in made.caption


def test_iserve_attains_at_least_as_much_as_every_baseline(tmp_path):
    made = produce(figure("iserve-attainment"), SweepRunner(quick=True), tmp_path)
    assert next(row for row in made.rows if row.quantity.startswith("points")).ours.value == 100


def test_a_group_names_all_of_its_figures():
    assert [f.name for f in chosen(["iserve"])] == groups()["iserve"]
    assert [f.name for f in chosen(["iserve-sets", "iserve"])] == [
        "iserve-sets",
        *[n for n in groups()["iserve"] if n != "iserve-sets"],
    ]
