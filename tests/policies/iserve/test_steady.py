"""The steady state of a continuously batching engine, held against its simulation."""

import numpy as np
import pytest

from policies.iserve.steady import Engine, EngineLimits
from policies.latency import FingerprintLatency
from traces.fingerprints import load_fingerprint

LATENCY = FingerprintLatency(load_fingerprint("llama-3.1-8b", "h200", 1))
LIMITS = EngineLimits(max_seqs=1024, max_batched_tokens=8192, kv_tokens=800_000)
ENGINE = Engine(LATENCY, LIMITS, prompt=1000, output=200)


def test_an_idle_engine_decodes_at_the_speed_of_one_request():
    state = ENGINE.at(1e-3)
    assert state.tpot_s[0] == pytest.approx(LATENCY.seconds((0, 0.0, 0, 1, 1100, 0)), rel=0.02)


def test_more_load_is_slower_until_the_engine_cannot_keep_up():
    state = ENGINE.at(np.linspace(1, 400, 60))
    served = np.isfinite(state.tpot_s)
    assert served[0]
    assert not served[-1]
    assert (np.diff(state.tpot_s[served]) >= 0).all()
    assert (np.diff(state.ttft_s[served]) >= 0).all()
    assert not served[np.argmin(served) :].any()


def test_little_law_holds():
    state = ENGINE.at([5.0, 20.0])
    assert state.batch == pytest.approx(np.array([5.0, 20.0]) * 200 * state.tpot_s, rel=0.01)


def test_capacity_is_where_the_objective_is_reached():
    rate = ENGINE.capacity(tpot_s=0.02)
    below, above = ENGINE.at([rate * 0.99, rate * 1.02]).tpot_s
    assert below <= 0.02 < above


def test_an_objective_that_one_request_breaks_leaves_no_capacity():
    assert ENGINE.capacity(tpot_s=1e-4) == 0.0


def test_less_kv_memory_is_less_capacity():
    small = EngineLimits(1024, 8192, 20_000)
    assert Engine(LATENCY, small, prompt=1000, output=200).capacity() < ENGINE.capacity()
