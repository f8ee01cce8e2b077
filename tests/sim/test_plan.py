"""The cheapest fleet for a workload: what is asked, where the search looks, and what it finds."""

import json
from dataclasses import replace

import pytest

from policies.placement import Demand
from policies.types import SLO
from sim.plan import Question, demand_of, deployed, plan, shortlist
from traces.candidates import candidates
from traces.errors import InputError
from traces.fingerprints import named_fingerprint
from traces.scenario import load_scenario

SCENARIO = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
workload:
  - name: chat
    rate: 30/s
    trace: {prompt_tokens: 800, output_tokens: 100}
    slo_mix:
      - {share: 5%, tier: gold, slo: {ttft: 200ms, tpot: 8ms}}
      - {share: 95%, tier: rest, slo: {ttft: 1s, tpot: 25ms}}
duration: 20s
warmup: 2s
drain: 20s
seed: 3
"""


@pytest.fixture
def scenario(tmp_path):
    file = tmp_path / "chat.yaml"
    file.write_text(SCENARIO)
    return file


def test_the_objective_that_decides_leaves_out_whom_the_goal_does_not_need(scenario):
    loaded = load_scenario(scenario)
    assert demand_of(loaded, 0.9).slo.tpot_s == pytest.approx(0.025)  # the strict 5 % may miss theirs
    assert demand_of(loaded, 0.99).slo.tpot_s == pytest.approx(0.008)


def test_the_demand_is_the_workloads_mean(scenario):
    demand = demand_of(load_scenario(scenario), 0.9)
    assert (demand.prompt_tokens, demand.output_tokens) == (800, 100)
    assert demand.rate_per_s == pytest.approx(30, rel=0.2)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{name: c, load: {concurrency: 4}, requests: 50, trace: {prompt_tokens: 8, output_tokens: 8}, slo: {tpot: 1s}}", "rate"),
        ("{name: c, rate: 5/s, trace: {prompt_tokens: 8, output_tokens: 8}}", "objective"),
    ],
)
def test_a_workload_without_rate_or_objective_is_refused(tmp_path, entry, said):
    file = tmp_path / "other.yaml"
    file.write_text(f"model: llama-3.1-8b\nfleet: {{gpu: h200, gpus: 1}}\nworkload: [{entry}]\nduration: 20s\n")
    with pytest.raises(InputError, match=said):
        demand_of(load_scenario(file), 0.9)


def test_the_shortlist_has_the_best_of_each_gpu_type_before_second_choices(scenario):
    demand = demand_of(load_scenario(scenario), 0.9)
    question = Question({"h200": 8, "h100": 8, "a100": 8}, most=3)
    chosen = shortlist(candidates(demand, question.gpus, within_inventory=False), question)
    assert {c.configuration.gpu for c in chosen} == {"h200", "h100", "a100"}
    assert [c.usd_per_hour for c in chosen] == sorted(c.usd_per_hour for c in chosen)


def test_the_fewest_engines_that_hold_are_found_and_half_of_them_do_not_do(scenario):
    question = Question({"a100": 8}, precisions={"bf16": ("bf16",)}, most=1, seeds=2)
    found = plan(scenario, question, jobs=1)
    best = found.alternatives[0]
    assert best.engines is not None
    assert best.engines > 1
    assert best.usd_per_hour == pytest.approx(best.gpus * 1.5)
    assert best.found["attainment"].value >= 0.85
    half = Question({"a100": best.engines // 2}, precisions=question.precisions, most=1, seeds=2)
    assert plan(scenario, half, jobs=1).alternatives[0].engines is None


def test_what_cannot_be_met_by_any_number_of_gpus_is_said(scenario):
    with pytest.raises(InputError, match="can meet the objectives at all"):
        plan(scenario, Question({"a100": 8}), sets=("workload.chat.slo_mix=[{share: 100%, tier: t, slo: {tpot: 100us}}]",), jobs=1)


def test_a_candidate_takes_the_fleets_place(scenario):
    demand = demand_of(load_scenario(scenario), 0.9)
    offered = candidates(demand, {"h100": 8}, precisions={"fp8": ("fp8",)})
    wide = next(c for c in offered if c.configuration.tensor_parallel == 2)
    fleet = load_scenario(scenario, deployed(wide)).fleet
    assert (fleet.gpu, fleet.tensor_parallel, fleet.precision, fleet.kv_precision, fleet.engines) == ("h100", 2, "fp8", "fp8", 1)


ONE = {"bf16": ("bf16",)}


def test_a_price_of_the_users_own_changes_what_is_cheapest(scenario):
    question = Question({"a100": 8, "h100": 8}, precisions=ONE, most=2, seeds=1, stress=False)
    listed = plan(scenario, question, jobs=1)
    first, second = (a.candidate.configuration.gpu for a in listed.alternatives)
    dear = replace(question, usd_per_gpu_hour={first: 50.0})
    own = plan(scenario, dear, jobs=1)
    assert [a.candidate.configuration.gpu for a in own.alternatives] == [second, first]
    assert own.alternatives[1].usd_per_hour == 50.0 * own.alternatives[1].gpus


def test_the_highest_rate_on_a_fleet_needs_about_as_much_as_the_cheapest_fleet_for_it(scenario):
    question = Question({"a100": 4}, precisions=ONE, most=1, seeds=1, stress=False, aim="rate")
    carried = plan(scenario, question, jobs=1).best
    assert carried.gpus == 4
    assert carried.rate_lo <= carried.rate_per_s <= carried.rate_hi
    load = carried.rate_per_s / demand_of(load_scenario(scenario), 0.9).rate_per_s
    again = plan(
        scenario,
        replace(question, aim="usd", gpus={"a100": 8}),
        sets=(f"workload.chat.rate={30 * 0.97 * load}/s",),
        jobs=1,
    )
    assert again.best.engines == 4


def test_knobs_and_policies_are_arms_of_their_own(scenario):
    question = Question(
        {"a100": 8}, precisions=ONE, most=1, seeds=1, stress=False,
        policies=[("policy=vllm",), ("policy=sarathi",)], knobs=[("engine.max_num_seqs=4",), ("engine.max_num_seqs=64",)],
    )  # fmt: skip
    found = plan(scenario, question, jobs=1)
    assert len(found.alternatives) > 1
    assert found.best.arm.knobs == ("engine.max_num_seqs=64",)


def test_a_deployment_that_fails_and_whose_gpus_cost_too_much_is_not_tried_under_other_policies(scenario):
    question = Question(
        {"h100": 8, "a100": 2}, precisions=ONE, most=2, seeds=1, stress=False, policies=[("policy=vllm",), ("policy=sarathi",)]
    )
    cheap = plan(scenario, question, jobs=1)
    dear = plan(scenario, replace(question, usd_per_gpu_hour={"a100": 100.0}), jobs=1)
    tried = [{a.policy for a in found.alternatives if a.candidate.configuration.gpu == "a100"} for found in (cheap, dear)]
    assert tried == [{("policy=vllm",), ("policy=sarathi",)}, {("policy=vllm",)}]


def test_the_answer_is_of_longer_runs_even_if_the_first_ones_fall_behind_in_them(scenario):
    question = Question({"a100": 8, "h100": 8}, precisions=ONE, most=4, seeds=1, stress=False, requests=4000)
    assert plan(scenario, question, sets=("duration=3min",), jobs=1).best.long


def test_what_leaves_the_calibrated_range_is_refused_by_name_unless_asked_for(scenario):
    question = Question({"a100": 8}, precisions=ONE, most=1, seeds=1, stress=False)
    long = ("workload.chat.trace={prompt_tokens: 60000, output_tokens: 10}", "workload.chat.rate=0.3/s",
            "workload.chat.slo_mix=[{share: 100%, tier: t, slo: {ttft: 60s, tpot: 2s}}]")  # fmt: skip
    refused = plan(scenario, question, sets=long, jobs=1)
    if not refused.refusals:
        pytest.skip("the fingerprint reaches as far")
    assert refused.best is None
    assert refused.refusals[0].arm.candidate.configuration.gpu == "a100"
    assert plan(scenario, replace(question, extrapolate=True), sets=long, jobs=1).best is not None


def test_the_error_of_step_times_widens_what_noise_leaves(scenario):
    found = plan(scenario, Question({"a100": 16}, precisions=ONE, most=1, seeds=1, stress=False), jobs=1)
    best = found.best
    assert best.hardware[0] <= best.lo <= best.engines <= best.hi <= best.hardware[1]
    assert best.hardware[0] < best.hardware[1]


def test_the_order_and_the_front_are_told(scenario):
    found = plan(scenario, Question({"a100": 8, "h100": 8}, precisions=ONE, most=4, seeds=2, stress=False), jobs=1)
    costs = [a.usd_per_hour for a in found.alternatives]
    assert costs == sorted(costs)
    assert found.alternatives[0].against == ""
    assert all(a.against for a in found.alternatives[1:] if a.engines is not None)
    front = [(a.tokens_s_per_gpu, a.tokens_s_per_user) for a in found.alternatives if a.front]
    assert front
    assert sorted(front) == sorted(front, key=lambda point: -point[1])


def test_what_binds_is_told_by_the_runs_with_less(scenario):
    best = plan(scenario, Question({"a100": 8}, precisions=ONE, most=1, seeds=1, stress=False), jobs=1).best
    assert best.binds.split(":")[0] in ("TTFT", "TPOT")
    assert "misses most" in best.binding


def test_near_the_fastest_that_an_engine_can_be_a_small_error_of_step_times_decides_everything():
    def capacity(tpot_s):
        demand = Demand("llama-3.1-8b", "all", SLO(5.0, tpot_s), 1.0, 800, 100)
        return candidates(demand, {"a100": 8}, precisions=ONE, within_inventory=False)[0].requests_per_s

    loose, tight = capacity(0.2), capacity(0.0125)
    assert 0 < loose.low < loose.value < loose.high
    assert tight.low == 0 < tight.value < tight.high


def test_step_times_of_the_users_own_count_for_the_deployment_that_they_are_of(scenario, tmp_path):
    slow = named_fingerprint("llama-3.1-8b/a100/tp1/bf16").to_dict()
    slow["terms"]["overhead"] += 0.008
    own = tmp_path / "my engine.json"
    own.write_text(json.dumps(slow))
    question = Question({"a100": 16}, precisions=ONE, most=4, seeds=1, stress=False)
    named = ("fleet.gpu=a100", f"fleet.fingerprint={json.dumps(str(own))}")
    listed, measured = ({a.arm.each: a for a in plan(scenario, question, sets=sets, jobs=1).alternatives} for sets in ((), named))
    assert listed[1].arm.fingerprint is None
    assert measured[1].arm.fingerprint == own
    assert measured[1].need > 1.1 * listed[1].need
    assert measured[2].need == listed[2].need, "of two GPUs an engine, the library's"
