"""The record of the studies: what it rests on is in the repository, and a part of it is run again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from figures.scoot.record import load
from figures.scoot.services import FOLDER, SERVICES
from figures.scoot.studies import (
    COMPARED,
    DIED,
    INTEGERS,
    LATENCIES,
    LATER_SEEDS,
    RETESTS,
    SEEDS,
    THROUGHPUT,
    TILES,
    TRIALS,
    UNRULED_BASELINES,
    WITHOUT_RULES,
    Asked,
    space_for,
)
from figures.scoot.tables import tables
from figures.tuning.objectives import parse_objectives
from figures.tuning.study import Plan, Tuning
from figures.tuning.trials import Outcome, Simulated
from traces.readers import read

STALE = "the record is of another simulator; run `python -m figures.scoot.record`"


@pytest.fixture(scope="module")
def record() -> pd.DataFrame:
    frame, _ = load()
    return frame.astype(dict.fromkeys(("service", "objective", "sampler", "space", "kind", "failure"), "str"))


@pytest.mark.parametrize("name", list(SERVICES))
def test_a_services_trace_is_what_its_description_gives(name: str) -> None:
    kept = read(FOLDER / f"{name}.jsonl.gz", "mooncake", block_tokens=128)
    made = SERVICES[name].workload()
    for column in ("arrival_s", "prompt_tokens", "output_tokens", "block_offsets", "block_ids"):
        assert (getattr(kept, column) == getattr(made, column)).all(), column


def test_the_record_holds_whole_studies_of_all_samplers_for_the_same_seeds(record: pd.DataFrame) -> None:
    keys = ["service", "objective", "sampler", "parallel", "space", "seed"]
    for place, study in record.groupby(keys):
        counts = study["kind"].value_counts()
        assert counts["trial"] == TRIALS or place[2] == "auto-tune", place
        assert counts["retest"] == RETESTS, place
        assert (study[study["kind"] == "retest"]["failure"] == "").all(), place
        assert counts.get(DIED, 0) % RETESTS == 0, place
    one_by_one = record[record["parallel"] == 1]
    for objective, space, samplers, expected in (
        (THROUGHPUT, TILES, COMPARED, (*SEEDS, *LATER_SEEDS)),
        (THROUGHPUT, TILES, (WITHOUT_RULES, *UNRULED_BASELINES), SEEDS),
        (THROUGHPUT, INTEGERS, COMPARED, SEEDS),
        (LATENCIES, TILES, COMPARED[:-1], SEEDS),
    ):
        part = one_by_one[(one_by_one["objective"] == objective) & (one_by_one["space"] == space)]
        seeds = part[part["sampler"].isin(samplers)].groupby(["service", "sampler"])["seed"].unique().map(sorted)
        assert set(seeds.index) == {(service, sampler) for service in SERVICES for sampler in samplers}
        assert all(tuple(one) == expected for one in seeds)


def scoot(record: pd.DataFrame, asked: Asked) -> pd.DataFrame:
    """The trials of a study."""
    place = {name: getattr(asked, name) for name in ("service", "objective", "sampler", "parallel", "space", "seed")}
    kept = record[(record[list(place)] == pd.Series(place)).all(axis=1) & (record["kind"] == "trial")]
    return kept.sort_values("number")


@pytest.mark.parametrize(("objective", "space"), [(THROUGHPUT, TILES), (LATENCIES, TILES), (THROUGHPUT, INTEGERS)])
@pytest.mark.parametrize("service", list(SERVICES))
def test_recorded_trials_come_out_alike_when_they_are_run_again(
    record: pd.DataFrame, service: str, objective: str, space: str
) -> None:
    asked = Asked(service, objective, "scoot", 1, space=space)
    rows = scoot(record, asked)
    knobs = space_for(asked).default
    box = Simulated(asked.scenario, parse_objectives(objective), asked.sets)
    for row in rows.iloc[[0, 7, 22]].to_dict("records"):
        config = {name: type(value)(row[name]) for name, value in knobs.items()}
        found = box(config, 10_000 + row["number"])
        assert found.failure.partition(":")[0] == row["failure"], STALE
        if found.values is not None:
            told = [row["first"], row["second"]][: len(found.values)]
            assert np.allclose(found.values, told, rtol=0.02), STALE


@pytest.mark.parametrize("space", [TILES, INTEGERS])
def test_the_recorded_design_is_the_samplers(record: pd.DataFrame, space: str) -> None:
    asked = Asked("cls", THROUGHPUT, "scoot", 2, space=space)
    plan = Plan(space_for(asked), parse_objectives(THROUGHPUT), 9, "scoot", 20_000)
    trials = Tuning(plan, lambda pairs: [Outcome((1.0,)) for _ in pairs]).run()
    for trial, row in zip(trials, scoot(record, asked).to_dict("records"), strict=False):
        assert trial.config == {name: row[name] for name in plan.space.default}


def test_the_pages_tables_are_the_records() -> None:
    page = (Path(__file__).parents[3] / "docs" / "scoot.md").read_text("utf-8")
    for title, lines in tables():
        assert "\n".join(lines) in page, f"{title}: run `python -m figures.scoot.tables`"
