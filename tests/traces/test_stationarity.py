"""Seen on queues whose state is known: overload is told from a busy hour, and a fleet that fills from one that is full."""

from __future__ import annotations

import numpy as np
import pytest

from tests.traces.golden import uniform_record
from traces.metrics import summarise
from traces.stationarity import cold_cache, crowd_growth, filling_s, first_wave_s, queue_growth, under_way


def shared_server(load, seconds, seed=1, free=0):
    """Arrivals at 10/s to a server that all requests under way share: no queue, but ever slower, as if with ``free`` others."""
    rng = np.random.default_rng(seed)
    arrival = np.sort(rng.uniform(0, seconds, rng.poisson(10 * seconds)))
    work = rng.exponential(load / 10, len(arrival))
    gone, left, now, i = np.full(len(arrival), np.nan), {}, 0.0, 0
    while i < len(arrival) or left:
        next_arrival = arrival[i] if i < len(arrival) else np.inf
        first = min(left, key=left.__getitem__) if left else None
        finish = now + left[first] * (free + len(left)) if left else np.inf
        until = min(next_arrival, finish)
        if until > 2 * seconds:
            break
        done = (until - now) / (free + len(left)) if left else 0.0
        left = {key: rest - done for key, rest in left.items()}
        now = until
        if finish <= next_arrival:
            gone[first] = now
            del left[first]
        else:
            left[i] = work[i]
            i += 1
    return arrival, gone


@pytest.mark.parametrize(("load", "seconds", "least"), [(1.1, 300, 0.8), (1.5, 100, 1.0)])
def test_a_server_that_only_gets_slower_is_seen_to_be_overloaded(load, seconds, least):
    found = [crowd_growth(*shared_server(load, seconds, seed), 1e9) for seed in range(10)]
    assert np.mean([growth is not None and growth.shown for growth in found]) >= least
    assert all(growth.late > 1.5 * growth.early for growth in found if growth)


@pytest.mark.parametrize("load", [0.5, 0.7, 0.85])
def test_a_server_that_keeps_up_is_not(load):
    for seed in range(8):
        growth = crowd_growth(*shared_server(load, 150, seed), 1e9)
        assert growth is None or not growth.shown


def test_a_run_too_short_to_tell_filling_from_overload_is_not_called_overloaded():
    arrival = np.linspace(0, 60, 600)
    assert crowd_growth(arrival, arrival + 10, 60.0) is None  # full after 10 s
    assert crowd_growth(arrival, arrival + 30, 60.0) is None  # fills for half of the run
    slower = arrival + 5 + arrival / 2
    assert crowd_growth(arrival, slower, 60.0).shown
    assert crowd_growth(arrival, np.full(600, np.nan), 60.0) is None  # nothing was ever done


@pytest.mark.parametrize("load", [0.95, 1.2])
def test_in_a_few_stays_a_batch_that_fills_near_its_limit_looks_like_overload_and_is_not_called_so(load):
    found = [crowd_growth(*shared_server(load, 60, seed, free=60), 1e9) for seed in range(10)]
    shown = [growth for growth in found if growth is not None and growth.shown]
    assert len(shown) >= 3
    assert all(growth.may_fill for growth in shown)


def queue_at(load, seconds, seed, cv=1.0):
    """When requests arrive, 20 per second, and when a server with exponential services takes them up."""
    rng = np.random.default_rng(seed)
    gaps = rng.gamma(1 / cv**2, cv**2 / 20, int(30 * seconds))
    arrival = np.cumsum(gaps)[np.cumsum(gaps) < seconds]
    work = rng.exponential(load / 20, len(arrival))
    begun = np.concatenate([[0.0], np.cumsum(work)[:-1]])
    return arrival, begun + np.maximum.accumulate(arrival - begun)


@pytest.mark.parametrize("cv", [1.0, 2.0], ids=["Poisson", "bursty"])
@pytest.mark.parametrize("seconds", [60, 300])
def test_a_queue_that_is_kept_up_with_is_called_overloaded_in_at_most_one_of_20_runs(seconds, cv):
    for load in (0.7, 0.8, 0.9, 0.95):
        alarms = [queue_growth(*queue_at(load, seconds, seed, cv), 1e9).shown for seed in range(200)]
        assert np.mean(alarms) <= 0.05, load


@pytest.mark.parametrize("seconds", [60, 300])
def test_the_overload_that_a_run_is_said_to_show_it_shows(seconds):
    least = np.median([queue_growth(*queue_at(1.0, seconds, seed), 1e9).least_overload for seed in range(100)])
    assert 0.02 < least < 0.2
    shown = [queue_growth(*queue_at(1 + least, seconds, seed), 1e9).shown for seed in range(200)]
    assert np.mean(shown) >= 0.9


def test_overload_that_does_not_show_is_said_to_be_possible_and_below_what_would_show():
    found = [queue_growth(*queue_at(1.1, 60, seed), 1e9) for seed in range(200)]
    silent = [growth for growth in found if not growth.shown]
    assert 0.1 < len(silent) / len(found) < 0.5
    assert np.mean([growth.open for growth in silent]) > 0.9
    assert np.mean([growth.least_overload > 0.1 for growth in silent]) > 0.9


def test_a_queue_that_falls_back_leaves_nothing_open():
    assert not any(queue_growth(*queue_at(0.7, 300, seed), 1e9).open for seed in range(50))


def test_too_few_arrivals_tell_nothing():
    assert queue_growth(np.arange(20.0), np.full(20, np.nan), 1e9) is None


def filling(fill_s=20.0, window_s=100.0, seed=2):
    """An infinite server: each request stays exactly ``fill_s``, so the number under way is steady from then on."""
    arrival = np.sort(np.random.default_rng(seed).uniform(0, window_s, int(20 * window_s)))
    return arrival, arrival + fill_s


def test_a_fleet_that_fills_is_told_until_when():
    arrival, gone = filling(fill_s=20.0)
    assert filling_s(arrival, gone, 0.0, 100.0) == pytest.approx(20.0, abs=6)


def test_a_window_that_begins_when_it_is_full_is_left_alone():
    alarms = [filling_s(*filling(20.0, 200.0, seed), 25.0, 200.0) is not None for seed in range(60)]
    assert np.mean(alarms) <= 0.05


def test_a_filling_that_is_short_beside_the_run_does_not_matter():
    alarms = [filling_s(*filling(1.0, 2000.0, seed), 0.0, 2000.0) is not None for seed in range(20)]
    assert np.mean(alarms) <= 0.05


def cached_prompts(full_s, seed, seconds=400.0):
    """Exponential prompts, 10 per second, of which caches hold exponential shares, 0.3 on average once ``full_s`` has passed."""
    rng = np.random.default_rng(seed)
    arrival = np.sort(rng.uniform(0, seconds, int(10 * seconds)))
    prompt = rng.exponential(2000, len(arrival))
    held = 0.3 * (np.minimum(arrival / full_s, 1) if full_s else 1.0) * rng.exponential(1.0, len(arrival))
    return arrival, prompt, prompt * np.minimum(held, 1), 0.0, seconds


def test_prefix_caches_that_fill_are_told_with_the_time_that_they_take():
    found = [cold_cache(*cached_prompts(100.0, seed)) for seed in range(40)]
    assert all(cold is not None and cold.early < 0.8 * cold.late for cold in found)
    assert 60 < np.median([cold.until_s for cold in found]) < 140


@pytest.mark.parametrize("full_s", [0.0, 2.0], ids=["full", "full at once"])
def test_prefix_caches_that_are_full_are_called_cold_in_at_most_one_of_20_runs(full_s):
    assert np.mean([cold_cache(*cached_prompts(full_s, seed)) is not None for seed in range(200)]) <= 0.05


def test_without_prefix_caches_or_prompts_nothing_is_cold():
    arrival, prompt, _, start, end = cached_prompts(100.0, 1)
    assert cold_cache(arrival, prompt, np.zeros(len(prompt)), start, end) is None
    assert cold_cache(arrival[:0], prompt[:0], prompt[:0], start, end) is None
    assert cold_cache(arrival[-5:], prompt[-5:], prompt[-5:], start, end) is None


def test_the_warnings_tell_cold_prefix_caches():
    n = 400
    cached = np.minimum(np.arange(n) // 2, 60)
    (line,) = [line for line in summarise(uniform_record(n, cached_tokens=cached)).warnings if "caches" in line]
    assert line.startswith("prefix caches were still filling when the measured window began: they held 24 % of the prompt tokens")
    assert "60 % of its second half; leave that out: `warmup: 150s`" in line
    assert not any("caches" in line for line in summarise(uniform_record(n, cached_tokens=60)).warnings)


def test_a_closed_loops_first_wave_is_told_from_single_arrivals():
    arrival = np.concatenate([np.zeros(16), np.linspace(1, 50, 400)])
    assert first_wave_s(arrival, arrival + 2.5) == (16, 2.5)
    assert first_wave_s(arrival[15:], arrival[15:] + 2.5) is None
    assert first_wave_s(np.zeros(100), np.ones(100)) is None  # a backlog is nothing else


def test_requests_under_way_are_counted_at_each_time():
    arrival, gone = np.array([0.0, 1.0, 2.0]), np.array([1.5, np.nan, 2.5])
    assert under_way(arrival, gone, np.array([0.5, 1.0, 2.0, 3.0])).tolist() == [1, 2, 2, 1]


def test_the_warnings_suggest_a_warm_up_and_a_longer_run():
    arrival, gone = filling(fill_s=20.0)
    n = len(arrival)
    record = uniform_record(n, arrival_s=arrival, intended_arrival_s=arrival, e2e_s=gone - arrival)
    record = type(record)(
        {**record.manifest, "window_s": [0.0, 100.0], "end_s": 120.0}, record.requests, record.steps, record.fleet, record.gaps
    )
    filled, empties = summarise(record).warnings
    assert "still filling when the measured window began" in filled
    assert "`warmup: 2" in filled
    assert "20 % of the measured window" in empties


def test_ever_more_requests_under_way_in_a_few_stays_leaves_open_whether_the_fleet_keeps_up():
    n = 400
    warnings = summarise(uniform_record(n, queue_s=0.0, e2e_s=np.linspace(20, 200, n))).warnings
    (line,) = [line for line in warnings if "keeps up is open" in line]
    assert "ever more requests were under way" in line
    assert not any("overloaded" in line for line in warnings)


def test_ever_more_requests_under_way_is_overload_without_a_queue():
    n = 400
    e2e = np.linspace(1, 200, n)
    record = uniform_record(n, queue_s=0.0, e2e_s=e2e)
    (line,) = [line for line in summarise(record).warnings if "overloaded" in line]
    assert line.startswith("ever more requests were under way")
