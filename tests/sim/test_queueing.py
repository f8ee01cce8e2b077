"""Against theory: with one step per request and no batching, an engine is an M/G/1 queue."""

from __future__ import annotations

import numpy as np
import pytest

from policies.streams import generator
from sim.scheduler import EngineLimits
from tests.sim.cluster import play
from traces.intervals import mean
from traces.workload import RequestClass, Workload


@pytest.mark.parametrize("load", [0.3, 0.6, 0.85])
def test_mean_wait_is_pollaczek_khinchine(load: float) -> None:
    """W = λ E[S²] / (2 (1 − ρ)); service S = overhead + prompt × time per token, one prompt at a time, one token each."""
    n = 150_000
    rng = generator(11, "queueing")
    prompts = np.ceil(rng.lognormal(5.5, 0.8, n)).clip(1, 8000).astype(int)
    overhead, per_token = 0.004, 2e-5
    service = overhead + per_token * prompts
    rate = load / service.mean()
    arrivals = np.cumsum(rng.exponential(1 / rate, n))
    workload = Workload.make(arrivals, prompts, np.ones(n, int), classes=(RequestClass(model="m"),))

    outcome = play(workload, limits=EngineLimits(max_num_seqs=1), step={"overhead_s": overhead, "per_token_s": per_token})

    waits = outcome.column("first_scheduled_s") - arrivals
    measured = mean(waits)
    expected = rate * (service**2).mean() / (2 * (1 - load))
    assert measured.lo is not None
    assert measured.hi is not None
    assert measured.lo <= expected <= measured.hi
    assert (measured.hi - measured.lo) / expected < 0.25  # narrow enough to tell
    np.testing.assert_allclose(outcome.column("last_token_s") - outcome.column("first_scheduled_s"), service, rtol=1e-9)
