"""More or less of what a scenario asks, and runs short enough to try many."""

import pytest

from sim.planning.demand import at_load, demand_of, shortened, with_acceptance, with_lengths
from tests.sim.test_plan import SCENARIO
from traces.build import build_workload
from traces.errors import InputError
from traces.scenario import load_scenario


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "chat.yaml"
    path.write_text(SCENARIO.replace("duration: 20s", "duration: 20min").replace("warmup: 2s", "warmup: 5min"))
    return path


def test_a_short_run_has_about_as_many_requests_as_asked_for(file):
    scenario = load_scenario(file)
    cut = load_scenario(file, shortened(scenario, demand_of(scenario, 0.9), 2000))
    measured = cut.duration_s - cut.warmup_s
    assert measured * 30 == pytest.approx(2000, rel=0.05)
    assert cut.warmup_s < 60


def test_a_run_is_not_cut_where_a_part_of_it_is_another_load(file):
    for change in ("workload.chat.arrivals={varying: {profile: [1, 2], step: 60s}}", "duration=30s"):
        scenario = load_scenario(file, (change, "warmup=2s"))
        assert shortened(scenario, demand_of(scenario, 0.9), 2000) == ()


def test_load_and_lengths_are_multiplied(file):
    base = load_scenario(file)
    more = load_scenario(file, (*at_load(base, 1.2), *with_lengths(base, "output_factor", 0.5)))
    assert demand_of(more, 0.9).rate_per_s == pytest.approx(36, rel=0.02)
    assert build_workload(more).workload.output_tokens.mean() == 50
    assert build_workload(more).workload.prompt_tokens.mean() == 800


def test_a_trace_without_a_rate_has_no_load_to_vary(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "model: llama-3.1-8b\nfleet: {gpu: h200, gpus: 1}\nduration: 60s\n"
        "workload: [{name: chat, trace: azure-2023-conv, slo: {tpot: 30ms}}]\n"
    )
    with pytest.raises(InputError, match="rate"):
        at_load(load_scenario(path), 1.2)


def test_acceptance_is_multiplied_and_no_more_than_certain(file):
    drafts = "engine.speculative={method: eagle, num_speculative_tokens: 2, acceptance: [0.9, 0.6]}"
    scenario = load_scenario(file, (drafts,))
    more = load_scenario(file, (drafts, *with_acceptance(scenario, 1.2)))
    assert more.engine.speculative.acceptance == pytest.approx((1.0, 0.72))
    assert with_acceptance(load_scenario(file), 1.2) == ()
