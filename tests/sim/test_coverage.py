"""The 95 % intervals of a summary hold on the simulator itself: a reduced, seeded form of ``python -m benchmarks.coverage``.

With 150 runs, a coverage of 95 % is seen as 91 to 98.5 % in 99 of 100 studies; the seeds are fixed, so the outcome is too.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coverage import LOAD, Queue, coverage, covers, md1_wait_below, metrics_of
from traces.intervals import Estimate

RUNS = 150


def studied(queue: Queue) -> dict[str, float]:
    summaries = [metrics_of(queue.run(seed)) for seed in range(RUNS)]
    found = coverage(summaries, queue.truth())
    assert all(of.runs == RUNS for of in found.values())
    return {metric: of.share for metric, of in found.items()}


def test_intervals_cover_what_theory_knows_of_a_queue_with_equal_requests() -> None:
    """M/D/1, all by Crommelin's formula: attainment, goodput, mean, p50 and p99 of TTFT."""
    found = studied(Queue.make(noise=0.0, output=1, requests=3000))
    assert found.keys() == {"attainment", "goodput_req_s", "ttft_s.mean", "ttft_s.p50", "ttft_s.p99"}
    assert all(0.91 <= share <= 0.985 for share in found.values()), found


def test_intervals_cover_what_theory_knows_of_a_queue_with_noisy_steps() -> None:
    """M/G/1: the mean TTFT by Pollaczek and Khinchine; TPOT is one log-normal step."""
    found = studied(Queue.make(noise=0.3, output=2, requests=1500))
    assert found.keys() == {"ttft_s.mean", "tpot_s.mean", "tpot_s.p50", "tpot_s.p99"}
    assert all(0.91 <= share <= 0.985 for share in found.values()), found


def test_intervals_of_a_short_queue_cover_too_and_its_p99_is_marked() -> None:
    queue = Queue.make(noise=0.0, output=1, requests=1000)
    found = coverage([metrics_of(queue.run(seed)) for seed in range(RUNS)], queue.truth())
    assert all(0.90 <= of.share <= 0.985 for of in found.values()), found
    assert found["ttft_s.p99"].marked > 0.95


def test_crommelins_formula_agrees_with_a_long_queue() -> None:
    rng = np.random.default_rng(1)
    gaps = rng.exponential(1 / LOAD, 400_000)
    walk = np.concatenate([[0.0], np.cumsum(1.0 - gaps)])
    waits = walk - np.minimum.accumulate(walk)
    for services in (0.0, 0.5, 1.5, 4.0, 8.0):
        assert md1_wait_below(services, LOAD) == pytest.approx((waits <= services + 1e-9).mean(), abs=0.01)


def test_an_open_side_holds_everything_and_no_interval_claims_nothing() -> None:
    assert covers(Estimate(1.0, 0.5, None), 99.0) is True
    assert covers(Estimate(1.0, 0.5, 2.0), 99.0) is False
    assert covers(Estimate(1.0), 1.0) is None


def test_open_and_marked_intervals_are_told_apart_from_those_that_claim_both_ends() -> None:
    estimates = [
        Estimate(1.0, 0.5, None),
        Estimate(1.0, 0.5, 2.0, note="too few"),
        Estimate(1.0, 0.5, 2.0),
        Estimate(1.0, 0.5, 0.9),
    ]
    found = coverage([{"m": estimate} for estimate in estimates], {"m": 1.5})["m"]
    assert (found.hits, found.runs, found.open, found.marked) == (3, 4, 0.25, 0.25)
    assert (found.sound_hits, found.sound) == (1, 2)
