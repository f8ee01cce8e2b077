"""What assurance is worth where the budget is tight: AdaServe on two classes in a closed loop, in the simulator."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.two_classes import EARLIER_LINE_S, EARLIER_S, Bench, attainment, tpot_s


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("two-classes"), EARLIER_S, EARLIER_LINE_S)


def test_a_tight_class_attains_more_with_assurance_than_in_expectation_and_is_a_little_faster_for_it(bench: Bench) -> None:
    """In expectation requests end where their objective is, half of them beyond it; a margin of three buys more than needed."""
    arms = {
        "paper": [bench.simulated(seed, 0.8) for seed in (1, 2)],
        "assured": [bench.simulated(seed, 0.8, assurance=0.95) for seed in (1, 2)],
        "margin": [bench.simulated(seed, 0.8, margin=3.0) for seed in (1, 2)],
    }
    attained = {name: np.mean([attainment(record) for record in records]) for name, records in arms.items()}
    pace = {name: np.mean([tpot_s(record).mean() for record in records]) for name, records in arms.items()}
    assert attained["paper"] < 0.5 < 0.75 < attained["assured"]
    assert pace["margin"] < pace["assured"] < pace["paper"]
    assert all(attainment(record, "loose") == 1 for record in arms["assured"])
