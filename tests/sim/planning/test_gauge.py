"""Strain says of a run what its attainment says, and how far off it is."""

import pytest

from sim.planning.gauge import Gauger, gauge
from tests.sim.test_plan import SCENARIO
from traces.errors import InputError
from traces.scenario import load_scenario


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "chat.yaml"
    path.write_text(SCENARIO.replace("gpus: 1", "gpus: 2"))
    return path


@pytest.mark.parametrize("tpot", ["3ms", "7ms", "12ms", "25ms"])
@pytest.mark.parametrize("goal", [0.5, 0.9, 0.99])
def test_strain_is_at_most_1_exactly_where_the_goal_is_attained(file, tpot, goal):
    one = gauge(
        load_scenario(file, (f"workload.chat.slo_mix=[{{share: 100%, tier: t, slo: {{ttft: 300ms, tpot: {tpot}}}}}]",)), goal
    )
    assert (one.strain <= 1) == (one.metrics["attainment"] >= goal)
    assert one.lo <= one.strain <= one.hi
    assert bool(one.binds) == (one.metrics["attainment"] < 1)


def test_more_load_strains_more(file):
    rates = [f"workload.chat.rate={rate}/s" for rate in (5, 15, 30)]
    strains = [gauge(load_scenario(file, (rate,)), 0.9).strain for rate in rates]
    assert strains == sorted(strains)


def test_what_was_run_is_kept_and_told_alike(file, tmp_path):
    first = Gauger(file, (), 0.9, tmp_path / "kept")(())
    assert Gauger(file, (), 0.9, tmp_path / "kept")(()) == first
    assert Gauger(file, (), 0.5, tmp_path / "kept")(()).strain < first.strain


def test_a_window_without_requests_is_refused(file):
    with pytest.raises(InputError, match="no request"):
        gauge(load_scenario(file, ("workload.chat.rate=0.01/s", "warmup=19.9s", "seed=5")), 0.9)
