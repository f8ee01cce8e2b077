"""The verdict claims no more than the intervals allow."""

from __future__ import annotations

import dataclasses

import pytest

from figures.headline import Standing, delivers, standing, verdict, what_ran
from tests.figures.synthetic import synthetic_record
from traces.intervals import Estimate
from traces.metrics import Summary, summarise


@pytest.fixture(scope="module")
def summary() -> Summary:
    return summarise(synthetic_record(400, 2, 60.0))


def with_attainment(summary: Summary, overall: Estimate, **tiers: Estimate) -> Summary:
    return dataclasses.replace(
        summary,
        metrics={**summary.metrics, "attainment": overall},
        tiers={name: {**summary.tiers[name], "attainment": e} for name, e in tiers.items()},
    )


GOOD, BAD, OPEN = Estimate(0.97, 0.95, 0.98, 900), Estimate(0.7, 0.6, 0.8, 900), Estimate(0.91, 0.88, 0.93, 900)


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (GOOD, Standing.MET),
        (BAD, Standing.MISSED),
        (OPEN, Standing.OPEN),
        (Estimate(None), Standing.NONE),
        (Estimate(0.95), Standing.MET),
    ],
)
def test_a_target_is_met_or_missed_only_if_the_whole_interval_says_so(estimate: Estimate, expected: Standing) -> None:
    assert standing(estimate) is expected


def test_the_sentence_tells_share_interval_count_and_target(summary: Summary) -> None:
    found = verdict(with_attainment(summary, GOOD, chat=GOOD, summarise=GOOD))
    assert (found.standing, found.head) == (Standing.MET, "Target met")
    assert found.sentence == "97.0 % of 900 offered requests met their SLO (95 % interval 95–98 %; target 90 %)."


def test_a_tier_that_misses_forbids_a_plain_yes(summary: Summary) -> None:
    found = verdict(with_attainment(summary, GOOD, chat=GOOD, summarise=BAD))
    assert found.standing is Standing.MISSED
    assert found.head == "Target missed by a tier"
    assert found.sentence.endswith("Below target: tier summarise (70.0 %).")


def test_an_interval_across_the_target_is_no_verdict(summary: Summary) -> None:
    assert verdict(with_attainment(summary, OPEN, chat=OPEN, summarise=GOOD)).head == "Too close to call"


def test_without_an_slo_there_is_no_verdict(summary: Summary) -> None:
    assert verdict(with_attainment(summary, Estimate(None))).head == "No verdict"


def test_what_ran_names_the_fleet_the_model_and_the_policies() -> None:
    words = what_ran(synthetic_record(50, 3, 10.0, seed=9))
    assert words == "simulated · 3 × h200 · llama-3.1-8b · router power-of-two · batcher vllm · seed 9"


def test_what_ran_counts_the_gpus_that_there_are_and_not_those_of_all_candidates() -> None:
    record = synthetic_record(50, 3, 10.0, seed=9)
    scarce = {**record.manifest, "scenario": {**record.manifest["scenario"], "inventory": {"h200": 2}}}
    assert what_ran(dataclasses.replace(record, manifest=scarce)).startswith("simulated · 2 × h200 · ")


def test_an_unknown_price_is_left_out_of_what_the_run_delivers() -> None:
    record = synthetic_record(400, 2, 60.0, manifest={"usd_per_gpu_hour": None})
    assert "$" in delivers(summarise(synthetic_record(400, 2, 60.0)))
    assert "$" not in delivers(summarise(record))


def test_what_ran_tells_of_a_stand_in_for_the_gpu() -> None:
    record = synthetic_record(50, 3, 10.0, seed=9)
    replayed = {**record.manifest, "world": "replay", "mode": "managed", "device": "cpu"}
    small = {**replayed, "scenario": {**replayed["scenario"], "replay": {"shape": "tiny"}}}
    assert what_ran(dataclasses.replace(record, manifest=replayed)).startswith("measured on vLLM, a CPU in place of · ")
    assert what_ran(dataclasses.replace(record, manifest=small)).startswith(
        "measured on vLLM, a CPU and a tiny model in place of · "
    )
    mixed = {**replayed, "scenario": {**replayed["scenario"], "replay": {"shape": {"one": "tiny", "other": "mini"}}}}
    assert "a CPU and a mini or tiny model in place of" in what_ran(dataclasses.replace(record, manifest=mixed))
    attached = {**small, "mode": "attached"}
    assert what_ran(dataclasses.replace(record, manifest=attached)).startswith("measured on vLLM · ")
