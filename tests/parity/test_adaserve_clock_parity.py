"""AdaServe by the clock, on real engines with a real drafter. To be run alone: times are measured.

The load, the drafter and what objectives are held against are ``benchmarks.two_classes``'s, which prints the whole table.
"""

from __future__ import annotations

import pytest

from benchmarks.two_classes import FIXED, LONGEST, LOOSE, TIGHT, Bench, attainment, interval
from policies.redecide import redecide_record

OBJECTIVE, MARGIN = 0.7, 3.0
SEEDS = (1, 2, 3, 4)

pytestmark = pytest.mark.usefixtures("ahead_of_others")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, ahead_of_others: None) -> Bench:
    return Bench.measured(tmp_path_factory.mktemp("bench"))


def test_on_this_machine_verifying_drafts_for_all_is_dear(bench: Bench) -> None:
    overhead_s, per_token_s = bench.line
    requests = TIGHT + LOOSE
    with_none, with_all = (overhead_s + per_token_s * requests * (1 + k) for k in (0, LONGEST))
    assert with_all > 1.5 * with_none, "where tokens cost nothing, drafts for all are best, and nothing can be told here"


def test_by_the_clock_the_tight_class_attains_more_than_with_any_fixed_length(bench: Bench) -> None:
    records = [bench.adaserve(seed, OBJECTIVE, MARGIN) for seed in SEEDS]
    assert not [text for record in records for text in record.manifest["warnings"] if "raised" in text or "took longer" in text]
    ours = [attainment(record) for record in records]
    for k in FIXED:
        fixed = [attainment(bench.fixed(k, seed, OBJECTIVE)) for seed in SEEDS]
        _, low, _ = interval([mine - theirs for mine, theirs in zip(ours, fixed, strict=True)])
        assert low > 0, (k, ours, fixed)
    assert min(attainment(record, "loose") for record in records) == 1, "it takes nothing from the loose class that it needs"


def test_what_it_decided_on_real_engines_it_decides_again_from_the_log(bench: Bench) -> None:
    record = bench.adaserve(SEEDS[0], OBJECTIVE, MARGIN, decisions="full")
    chosen = [entry for entry in record.decisions or () if entry.get("decision") == "Selection"]
    assert any(len(set(entry["tokens"].values())) > 1 for entry in chosen)
    again = redecide_record(record.manifest, record.decisions or ())
    assert again.same, again.differences
