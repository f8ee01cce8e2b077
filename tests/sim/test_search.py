"""Searches for the value at which goals stop to hold, on responses with a known answer and on the simulator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sim.bracket import Answer, Evaluate, bracket
from sim.goals import Goal, Verdict, parse_goal
from sim.search import highest, lowest
from sim.span import Span
from traces.errors import InputError
from traces.intervals import Estimate, proportion
from traces.scenario.sweep import parse_range

GOAL = Goal("attainment", 0.9)
SCENARIO = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 2}
workload: [{name: chat, trace: azure-2023-conv, rate: 20/s, slo: {ttft: 500ms, tpot: 15ms}}]
duration: 30s
seed: 3
"""


def span(text: str, *, within: float | None = None, step: int | None = None) -> Span:
    ends = parse_range(text)
    assert ends is not None
    return Span.of(ends, within, step)


def sigmoid(
    truth: float, *, repetition: int = 0, requests: int = 2000, steep: float = 20.0, luck: float = 0.0, rising: bool = False
) -> Evaluate:
    """Attainment that crosses 90 % at ``truth``: Bernoulli requests with common random numbers, and a shift of the whole curve per
    seed by ``luck`` (relative, standard deviation), which no run can know of itself."""

    def evaluate(wanted: Sequence[tuple[float, int]]) -> list[list[Estimate]]:
        found = []
        for value, seed in wanted:
            rng = np.random.default_rng([repetition, seed])
            shift = luck * rng.normal()
            distance = steep * (math.log(value / truth) + shift) * (-1 if rising else 1)
            share = 1 / (1 + math.exp(distance - math.log(9)))
            found.append([proportion(rng.random(requests) < share)])
        return found

    return evaluate


def searched(repetitions: int, **kind: float) -> list[tuple[float, Answer]]:
    answers = []
    for repetition in range(repetitions):
        truth = float(np.random.default_rng([99, repetition]).uniform(6, 35))
        evaluate = sigmoid(truth, repetition=repetition, **kind)  # type: ignore[arg-type]
        answers.append((truth, bracket(evaluate, [GOAL], span("4/s..40/s"), highest=True)))
    return answers


@pytest.mark.parametrize(
    "kind",
    [{}, {"requests": 500, "steep": 10.0}, {"luck": 0.01}, {"luck": 0.03}],
    ids=["plain", "few requests, flat curve", "some luck", "much luck"],
)
def test_the_bracket_contains_the_truth_in_at_least_95_of_100_searches(kind: dict[str, float]) -> None:
    answers = searched(200, **kind)
    covered = sum(a.lo is not None and a.hi is not None and a.lo <= truth <= a.hi for truth, a in answers)
    assert covered >= 190
    assert np.median([abs(a.value / truth - 1) for truth, a in answers if a.value is not None]) < 0.01
    assert all(a.lo <= a.value <= a.hi for _, a in answers if a.lo and a.hi and a.value)


@pytest.mark.parametrize("kind", [{}, {"luck": 0.01}], ids=["plain", "some luck"])
def test_it_takes_a_tenth_of_the_runs_of_a_grid_with_the_same_resolution(kind: dict[str, float]) -> None:
    for _, answer in searched(50, **kind):
        assert answer.lo is not None
        assert answer.hi is not None
        points = math.log(40 / 4) / math.log(answer.hi / answer.lo) + 1
        assert answer.runs * 10 <= points * max(probe.seeds for probe in answer.trail)


def test_it_stops_when_narrow_enough_and_says_so() -> None:
    for within in (0.1, 0.02, 0.005):
        answer = bracket(sigmoid(17.3, requests=100_000), [GOAL], span("4/s..40/s", within=within), highest=True)
        assert answer.stopped == "narrow"
        assert answer.lo is not None
        assert answer.hi is not None
        assert answer.lo < 17.3 < answer.hi <= answer.lo * (1 + within) * (1 + 1e-9)


def test_it_stops_when_noise_is_the_limit_and_says_so() -> None:
    answer = bracket(sigmoid(17.3, requests=100), [GOAL], span("4/s..40/s", within=0.001), highest=True)
    assert answer.stopped == "noise"
    assert Verdict.OPEN in {probe.verdict for probe in answer.trail}
    assert answer.lo is not None
    assert answer.hi is not None
    assert answer.lo < 17.3 < answer.hi
    assert answer.hi > answer.lo * 1.001


def test_seeds_are_added_only_where_they_are_needed() -> None:
    answer = bracket(sigmoid(17.3), [GOAL], span("4/s..40/s"), highest=True)
    seeds = {probe.value: probe.seeds for probe in answer.trail}
    assert seeds[4.0] == seeds[40.0] == 2
    assert max(seeds.values()) > 2


def test_all_probes_share_their_seeds() -> None:
    asked: list[tuple[float, int]] = []

    def noted(wanted: Sequence[tuple[float, int]]) -> Sequence[Sequence[Estimate]]:
        asked.extend(wanted)
        return sigmoid(17.3)(wanted)

    answer = bracket(noted, [GOAL], span("4/s..40/s"), highest=True)
    for probe in answer.trail:
        assert sorted(seed for value, seed in asked if value == probe.value) == list(range(probe.seeds))
    assert answer.runs == len(asked)


@pytest.mark.parametrize(
    ("truth", "rising", "outside"), [(100, False, "above"), (1, False, "below"), (100, True, "above"), (1, True, "below")]
)
def test_an_answer_outside_the_bracket_is_said_to_be_there(truth: float, rising: bool, outside: str) -> None:
    answer = bracket(sigmoid(truth, rising=rising), [GOAL], span("4/s..40/s"), highest=not rising)
    assert (answer.outside, answer.stopped, answer.value) == (outside, "outside", None)
    assert (answer.lo, answer.hi) == ((40, None) if outside == "above" else (None, 4))
    assert len(answer.trail) == 2


def test_a_crossing_at_the_end_of_the_bracket_leaves_that_side_open() -> None:
    answer = bracket(sigmoid(4.0, requests=500), [GOAL], span("4/s..40/s"), highest=True)
    assert answer.lo is None
    assert answer.stopped == "noise"
    assert answer.hi is not None
    assert 4.0 < answer.hi < 5.0


def test_asking_in_the_wrong_direction_is_told() -> None:
    with pytest.raises(InputError, match="--highest: the goals are missed at 4 and hold at 40; ask for --lowest"):
        bracket(sigmoid(17.3, rising=True), [GOAL], span("4..40"), highest=True)


@pytest.mark.parametrize("truth", [2, 3, 7, 11, 15, 16])
def test_whole_numbers_are_found_exactly(truth: int) -> None:
    up = bracket(sigmoid(truth - 0.5, requests=20_000, rising=True), [GOAL], span("1..16", step=1), highest=False)
    assert (up.value, up.lo, up.hi, up.stopped) == (truth, truth, truth, "narrow")
    down = bracket(sigmoid(truth - 0.5, requests=20_000), [GOAL], span("1..16", step=1), highest=True)
    assert (down.value, down.lo, down.hi) == (truth - 1, truth - 1, truth - 1)


def test_one_engine_that_is_enough_is_an_exact_answer() -> None:
    answer = bracket(sigmoid(0.5, rising=True), [GOAL], span("1..16", step=1), highest=False)
    assert (answer.value, answer.lo, answer.hi, answer.outside) == (1, 1, 1, None)


def test_whole_numbers_too_close_to_call_are_given_as_a_range() -> None:
    answer = bracket(sigmoid(1000.5, requests=200, rising=True), [GOAL], span("100..10000", step=1), highest=False)
    assert answer.stopped == "noise"
    assert answer.lo is not None
    assert answer.hi is not None
    assert answer.lo <= 1001 <= answer.hi
    assert answer.value == round(answer.value or 0)


def test_values_are_multiples_of_the_step() -> None:
    answer = bracket(sigmoid(22, requests=20_000, rising=True), [GOAL], span("1..64", step=4), highest=False)
    assert answer.value == 24
    assert all(probe.value % 4 == 0 for probe in answer.trail)


def test_with_several_goals_the_tightest_decides() -> None:
    loose, tight = sigmoid(30, requests=20_000), sigmoid(12, requests=20_000)

    def both(wanted: Sequence[tuple[float, int]]) -> list[list[Estimate]]:
        return [[a[0], b[0]] for a, b in zip(loose(wanted), tight(wanted), strict=True)]

    answer = bracket(both, [GOAL, GOAL], span("4/s..40/s"), highest=True)
    assert answer.value == pytest.approx(12, rel=0.02)


def test_a_bracket_down_to_zero_is_searched_in_even_steps() -> None:
    def response(wanted: Sequence[tuple[float, int]]) -> list[list[Estimate]]:
        return [[Estimate(1 - value, 0.99 - value, 1.01 - value, 100)] for value, _ in wanted]

    answer = bracket(response, [Goal("goodput_req_s", 0.7)], span("0.0..1.0", within=0.05), highest=True)
    assert answer.value == pytest.approx(0.3, abs=0.03)
    assert answer.lo is not None
    assert answer.hi is not None
    assert answer.lo <= 0.3 <= answer.hi


# --- goals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("attainment>=90%", Goal("attainment", 0.9)),
        ("attainment@premium ≥ 0.95", Goal("attainment", 0.95, group="premium")),
        ("ttft_s.p99<=500ms", Goal("ttft_s.p99", 0.5, at_least=False)),
        ("goodput_req_s > 12/s", Goal("goodput_req_s", 12.0)),
    ],
)
def test_goals_are_read(text: str, goal: Goal) -> None:
    assert parse_goal(text) == goal


@pytest.mark.parametrize(
    ("text", "fault"),
    [("attainment", "is no goal"), ("atainment>=1", "did you mean `attainment`"), ("attainment>=most", "`most` is no number")],
)
def test_what_is_no_goal_is_refused(text: str, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        parse_goal(text)


# --- on the simulator -------------------------------------------------------------------------------------------------


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO)
    return path


def test_the_highest_rate_of_a_fleet(scenario: Path, tmp_path: Path) -> None:
    answer = highest(scenario, "workload.chat.rate=5/s..100/s", [GOAL], within=0.1, seeds=4, jobs=1, cache=tmp_path / "cache")
    assert answer.outside is None
    assert answer.lo is not None
    assert answer.hi is not None
    assert 10 < answer.lo < answer.hi < 80
    again = highest(scenario, "workload.chat.rate=5/s..100/s", [GOAL], within=0.1, seeds=4, jobs=2, cache=tmp_path / "cache")
    assert again == answer


def test_the_fewest_gpus_for_a_rate_come_in_whole_engines(scenario: Path) -> None:
    sets = ["model=llama-3.1-70b", "fleet.tensor_parallel=4", "fleet.gpus=4", "workload.chat.slo.tpot=40ms"]
    answer = lowest(scenario, "fleet.gpus=1..64", [GOAL], seeds=4, sets=sets, jobs=1)
    assert answer.value is not None
    assert answer.value % 4 == 0
    assert {probe.value % 4 for probe in answer.trail} == {0}


@pytest.mark.parametrize(
    ("field", "goal", "fault"),
    [
        ("workload.chat.rate", GOAL, "names no bracket"),
        ("workload.chat.rate=4/s..40/s:8", GOAL, "names no bracket"),
        ("workload.chat.rat=4/s..40/s", GOAL, "did you mean `rate`"),
        ("workload.chat.rate=4/s..40/s", Goal("attainment", 0.9, group="premum"), "there is no tier `premum`"),
        ("workload.chat.rate=4/s..40/s", Goal("draft_acceptance", 0.9), "is not known in a run"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(scenario: Path, field: str, goal: Goal, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        highest(scenario, field, [goal], jobs=1)
