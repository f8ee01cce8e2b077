"""Engines without continuous batching that share GPUs."""

import numpy as np
import pytest

from sim.fixedbatch import FixedBatchEngine, serve


def alone(seconds: float = 1.0, model: int = 0, devices=(0,), share: float = 1.0) -> FixedBatchEngine:
    return FixedBatchEngine(model, seconds, devices, share)


def test_requests_are_served_one_after_the_other():
    served = serve([alone(2.0)], 1, [0.0, 0.5, 10.0], [0, 0, 0], [1, 1, 1])
    assert served.start_s.tolist() == [0.0, 2.0, 10.0]
    assert served.end_s.tolist() == [2.0, 4.0, 12.0]


def test_service_depends_on_the_output():
    engine = FixedBatchEngine(0, lambda tokens: 0.1 * tokens, (0,))
    assert serve([engine], 1, [0.0, 0.0], [0, 0], [10, 30]).end_s.tolist() == pytest.approx([1.0, 4.0])


def test_two_engines_at_work_on_one_gpu_halve_each_others_speed():
    served = serve([alone(1.0, 0), alone(1.0, 1)], 1, [0.0, 0.5], [0, 1], [1, 1])
    assert served.end_s.tolist() == pytest.approx([1.5, 2.0])  # alone for 0.5 s, side by side for 1 s, alone for 0.5 s


def test_an_engine_on_several_gpus_is_as_fast_as_the_slowest():
    engines = [alone(1.0, 0, (0, 1)), alone(1.0, 1, (1,))]
    assert serve(engines, 2, [0.0, 0.0], [0, 1], [1, 1]).end_s.tolist() == pytest.approx([2.0, 2.0])


def test_stages_that_take_turns_leave_time_for_others():
    engines = [alone(1.0, 0, (0, 1), share=0.5), alone(1.0, 1, (0, 1), share=0.5)]
    assert serve(engines, 2, [0.0, 0.0], [0, 1], [1, 1]).end_s.tolist() == pytest.approx([1.0, 1.0])


def test_measured_interference_replaces_time_slicing():
    engines = [alone(1.0, 0), alone(1.0, 1)]
    served = serve(engines, 1, [0.0, 0.0], [0, 1], [1, 1], interference=lambda demand: 1.0 + 0.2 * (demand > 1))
    assert served.end_s.tolist() == pytest.approx([1.2, 1.2])


def test_a_model_that_nobody_serves_stays_unserved():
    served = serve([alone()], 1, [0.0, 0.0], [0, 7], [1, 1])
    assert np.isnan(served.end_s[1])
    assert served.engine.tolist() == [0, -1]


def test_replicas_share_the_load():
    engines = [alone(1.0, 0, (0,)), alone(1.0, 0, (1,))]
    assert serve(engines, 2, [0.0, 0.0, 0.0], [0, 0, 0], [1, 1, 1]).end_s.tolist() == [1.0, 1.0, 2.0]


def test_the_mean_wait_is_that_of_an_md1_queue():
    rng = np.random.default_rng(1)
    arrivals = np.cumsum(rng.exponential(1 / 0.7, 40_000))
    served = serve([alone(1.0)], 1, arrivals, np.zeros(40_000, int), np.ones(40_000, int))
    assert (served.start_s - arrivals).mean() == pytest.approx(0.7 / (2 * 0.3), rel=0.06)


def test_work_is_conserved_when_engines_share_a_gpu():
    rng = np.random.default_rng(2)
    arrivals = np.sort(rng.uniform(0, 50, 200))
    served = serve([alone(0.3, m) for m in range(4)], 1, arrivals, rng.integers(0, 4, 200), np.ones(200, int))
    single = serve([alone(0.3)], 1, arrivals, np.zeros(200, int), np.ones(200, int))
    assert served.end_s.max() == pytest.approx(single.end_s.max())  # a GPU with work is never idle


def test_disorder_is_refused():
    with pytest.raises(ValueError, match="order"):
        serve([alone()], 1, [1.0, 0.0], [0, 0], [1, 1])
    with pytest.raises(ValueError, match="device"):
        serve([alone(devices=(3,))], 1, [0.0], [0], [1])
