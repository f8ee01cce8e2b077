"""The figures of studies: from the record, and from studies that are run for a look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from figures import gallery
from figures.frame import produce
from figures.reproduction import Verdict
from figures.runner import SweepRunner
from figures.scoot import outcomes
from figures.scoot.pairs import median_between
from figures.scoot.steps import missing
from figures.scoot.studies import DIED, THROUGHPUT, Asked
from figures.tuning.knobs import present
from policies.scoot.space import Config
from traces.scenario import load_scenario

NAMES = [name for name in gallery.names() if name.startswith("scoot-")]


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_made_from_the_record_and_says_so(name: str, tmp_path: Path) -> None:
    made = produce(gallery.figure(name), SweepRunner(), tmp_path)
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    assert "python -m figures.scoot.record" in made.caption
    assert all(row.ours.value is not None for row in made.rows)
    assert all(row.verdict in Verdict for row in made.rows)


def test_a_quick_figure_runs_its_own_studies(tmp_path: Path) -> None:
    made = produce(gallery.figure("scoot-services"), SweepRunner(quick=True), tmp_path)
    assert "Studies run for this figure" in made.caption
    assert set(pd.read_csv(tmp_path / "scoot-services.csv")["service"]) == {"bot"}


def study(values: list[float | None], second: list[float] | None = None) -> pd.DataFrame:
    first = [np.nan if value is None else value for value in values]
    return pd.DataFrame({"first": first, "second": second or [np.nan] * len(values), "number": range(len(values))})


def test_the_best_so_far_counts_from_the_default_and_passes_over_crashes() -> None:
    assert outcomes.best_so_far(study([10, None, 8, 12, 11])).tolist() == pytest.approx([0, 0, 0, 20, 20])


def test_hypervolume_is_the_dominated_share_below_the_default() -> None:
    assert outcomes.volume(study([2, 1, 4], [2, 1, 1])).tolist() == pytest.approx([0, 25, 25])
    assert outcomes.volume(study([2, 1, 0.5], [2, 1, 1.5])).tolist() == pytest.approx([0, 25, 31.25])


def test_a_lead_is_over_the_best_baseline_and_wins_are_counted_by_service() -> None:
    ahead = {"scoot": 4.0, "random": 2.0, "tpe": 3.0}
    behind = {"scoot": 1.0, "random": 2.0, "tpe": 3.0}
    assert outcomes.lead([ahead]) == 4 / 3
    assert outcomes.margin([behind]) == -2.0
    assert outcomes.wins([ahead, behind]) == 1.0


def test_a_bootstrap_over_seeds_holds_the_statistic_and_is_narrow_where_seeds_agree() -> None:
    agree = pd.DataFrame({"scoot": [4.0] * 5, "random": [2.0] * 5})
    found = outcomes.resampled([agree], outcomes.lead)
    assert (found.value, found.lo, found.hi, found.seeds) == (2.0, 2.0, 2.0, 5)
    mixed = agree.assign(scoot=[1.0, 2.0, 4.0, 5.0, 6.0])
    found = outcomes.resampled([mixed], outcomes.lead)
    assert found.lo is not None
    assert found.hi is not None
    assert found.value is not None
    assert found.lo < found.value < found.hi
    assert list(outcomes.without([mixed], "random")[0].columns) == ["scoot"]


def rows(sampler: str, kind: str, values: list[float]) -> pd.DataFrame:
    place = {"service": "bot", "sampler": sampler, "parallel": 1, "seed": 1, "kind": kind}
    failures = ["out of memory" if np.isnan(value) else "" for value in values]
    return pd.DataFrame({"first": values, "failure": failures, "number": range(len(values))}).assign(**place)


def test_where_a_best_died_the_next_best_counts_or_nothing_by_the_former_rule() -> None:
    frame = pd.concat([rows("tpe", DIED, [9.0, np.nan, 9.0]), rows("tpe", "retest", [8, 7, 8]), rows("scoot", "retest", [6, 6, 5])])
    assert outcomes.finals(frame).set_index("sampler")["value"].to_dict() == {"tpe": 7.0, "scoot": 5.0}
    assert outcomes.first_choices(frame).set_index("sampler")["value"].to_dict() == {"tpe": 0.0, "scoot": 5.0}


def test_late_crashes_are_those_after_the_tenth_success() -> None:
    design = [1.0] * 5 + [np.nan] + [1.0] * 5
    frame = pd.concat([rows("scoot", "trial", [*design, np.nan, 1.0, 1.0, 1.0]), rows("auto-tune", "trial", design)])
    assert outcomes.late_crashes(frame).set_index("sampler")["value"].to_dict() == {"scoot": 25.0}
    assert outcomes.crashes(frame).set_index("sampler")["value"].to_dict() == {"scoot": 2.0, "auto-tune": 1.0}


def test_a_medians_interval_lies_between_order_statistics_and_needs_six_values() -> None:
    assert median_between(np.arange(10.0)) == (4.5, 1.0, 8.0)  # holds the median of any distribution in 97.9 % of samples
    assert median_between(np.zeros(24)) == (0.0, 0.0, 0.0)
    assert median_between(np.arange(5.0)) == (2.0, None, None)


def test_a_service_that_was_not_run_is_unknown() -> None:
    agree = pd.DataFrame({"scoot": [4.0] * 5, "random": [2.0] * 5})
    assert outcomes.resampled([agree, agree.iloc[:0]], outcomes.wins).value is None
    assert outcomes.resampled([], outcomes.wins).value is None


def test_what_is_missing_to_the_best_known_is_told_apart_from_luck() -> None:
    knobs = present(load_scenario(Asked("cls", THROUGHPUT, "", 1).scenario))
    better = {**knobs, "max_num_batched_tokens": 1024}

    def row(sampler: str, kind: str, first: float, config: Config) -> dict[str, object]:
        return {"service": "cls", "sampler": sampler, "seed": 1, "kind": kind, "first": first, **config}

    rows = [row("scoot", "trial", value, knobs) for value in (100.0, 112.0)]
    rows += [row("scoot", "retest", 110.0, knobs)] * 3 + [row("random", "retest", 120.0, better)] * 3
    rows += [row("scoot", "retest-default", 100.0, knobs)] * 3
    frame = pd.DataFrame(rows)
    found = missing(frame, frame.iloc[:0]).set_index("metric")["value"]
    assert found["gap"] == pytest.approx(10)
    assert found["luck"] == pytest.approx(2)
    elsewhere = pd.DataFrame([row("tpe", "retest", 125.0, {**knobs, "max_num_batched_tokens": 1000})] * 3)
    assert missing(frame, elsewhere).set_index("metric")["value"]["gap"] == pytest.approx(15)


def test_fewest_counts_the_services_on_which_scoot_is_below_all_others() -> None:
    fewer, level = {"scoot": 1.0, "random": 2.0, "tpe": 3.0}, {"scoot": 2.0, "random": 2.0, "tpe": 3.0}
    assert outcomes.fewest([fewer, level]) == 1.0
