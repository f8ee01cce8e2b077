"""The record of the studies: what it rests on is in the repository, and a part of it is run again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from figures.scoot.record import load
from figures.scoot.services import FOLDER, SERVICES
from figures.scoot.studies import COMPARED, LATENCIES, RETESTS, SEEDS, THROUGHPUT, TRIALS, Asked
from figures.tuning.knobs import space_of
from figures.tuning.objectives import parse_objectives
from figures.tuning.study import Plan, Tuning
from figures.tuning.trials import Outcome, Simulated
from traces.readers import read
from traces.scenario import load_scenario

STALE = "the record is of another simulator; run `python -m figures.scoot.record`"


@pytest.fixture(scope="module")
def record() -> pd.DataFrame:
    frame, _ = load()
    return frame.astype(dict.fromkeys(("service", "objective", "sampler", "kind", "failure"), "str"))


@pytest.mark.parametrize("name", list(SERVICES))
def test_a_services_trace_is_what_its_description_gives(name: str) -> None:
    kept = read(FOLDER / f"{name}.jsonl.gz", "mooncake", block_tokens=128)
    made = SERVICES[name].workload()
    for column in ("arrival_s", "prompt_tokens", "output_tokens", "block_offsets", "block_ids"):
        assert (getattr(kept, column) == getattr(made, column)).all(), column


def test_the_record_holds_whole_studies_of_all_samplers_for_the_same_seeds(record: pd.DataFrame) -> None:
    keys = ["service", "objective", "sampler", "parallel", "seed"]
    for place, study in record.groupby(keys):
        counts = study["kind"].value_counts()
        assert counts["trial"] == TRIALS or place[2] == "auto-tune", place
        assert counts["retest"] == RETESTS, place
    of_throughput = record[(record["objective"] == THROUGHPUT) & (record["parallel"] == 1) & record["sampler"].isin(COMPARED)]
    seeds = of_throughput.groupby(["service", "sampler"])["seed"].unique().map(sorted)
    assert all(tuple(one) == SEEDS for one in seeds)


@pytest.mark.parametrize("objective", [THROUGHPUT, LATENCIES])
@pytest.mark.parametrize("service", list(SERVICES))
def test_recorded_trials_come_out_alike_when_they_are_run_again(record: pd.DataFrame, service: str, objective: str) -> None:
    asked = Asked(service, objective, "scoot", 1)
    rows = record[(record["service"] == service) & (record["objective"] == objective) & (record["sampler"] == "scoot")]
    rows = rows[(rows["seed"] == 1) & (rows["parallel"] == 1) & (rows["kind"] == "trial")]
    knobs = space_of(load_scenario(asked.scenario, asked.sets)).default
    box = Simulated(asked.scenario, parse_objectives(objective), asked.sets)
    for row in rows.iloc[[0, 7, 22]].to_dict("records"):
        config = {name: type(value)(row[name]) for name, value in knobs.items()}
        found = box(config, 10_000 + row["number"])
        assert found.failure.partition(":")[0] == row["failure"], STALE
        if found.values is not None:
            told = [row["first"], row["second"]][: len(found.values)]
            assert np.allclose(found.values, told, rtol=0.02), STALE


def test_the_recorded_design_is_the_samplers(record: pd.DataFrame) -> None:
    asked = Asked("cls", THROUGHPUT, "scoot", 2)
    rows = record[(record["service"] == "cls") & (record["objective"] == THROUGHPUT) & (record["sampler"] == "scoot")]
    rows = rows[(rows["seed"] == 2) & (rows["parallel"] == 1) & (rows["kind"] == "trial")].sort_values("number")
    space = space_of(load_scenario(asked.scenario, asked.sets))
    plan = Plan(space, parse_objectives(THROUGHPUT), 9, "scoot", 20_000)
    trials = Tuning(plan, lambda pairs: [Outcome((1.0,)) for _ in pairs]).run()
    for trial, row in zip(trials, rows.to_dict("records"), strict=False):
        assert trial.config == {name: row[name] for name in space.default}
