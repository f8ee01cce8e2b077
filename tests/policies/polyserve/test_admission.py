"""PolyServe's admission, on step times simple enough to work out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.fingerprint import Fingerprint
from policies.latency import FingerprintLatency, StepShape
from policies.polyserve.admission import Admission
from policies.polyserve.chunks import Prompt, after, evenly, in_order, largest_chunk
from policies.polyserve.outlook import Outlook, kv_peak
from policies.polyserve.tiers import BEST_EFFORT, budget_s, tier_of
from policies.types import SLO
from policies.views import Engine, Request

# A step takes 10 ms, 10 µs per token and 1 µs per KV token read.
LINEAR = FingerprintLatency(Fingerprint.linear(overhead_s=10e-3, per_token_s=10e-6, per_decode_context_s=1e-6))


def engine(running: int = 0, context: int = 0, **rest: object) -> Engine:
    """An engine with ``running`` decodes of ``context`` prompt tokens each."""
    requests = tuple(Request(id=100 + i, prompt_tokens=context, prefilled_tokens=context) for i in range(running))
    values = {"kv_tokens_used": running * context, "running_count": running, "running": requests, "waiting": (), **rest}
    return Engine(latency=LINEAR, **values)  # type: ignore[arg-type]


def request(
    prompt: int = 1000, output: float = 100, *, ttft: float | None = 0.5, tpot: float | None = 0.05, **rest: float
) -> Request:
    return Request(prompt_tokens=prompt, expected_output_tokens=output, slo=SLO(ttft_s=ttft, tpot_s=tpot), **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(("decodes", "context", "budget"), [(0, 0, 0.03), (10, 5000, 0.03), (100, 12_000, 0.0241)])
def test_the_largest_chunk_fills_the_budget_to_within_sixteen_tokens(decodes: int, context: int, budget: float) -> None:
    chunk = largest_chunk(LINEAR, decodes, context, budget, 8192, evenly(0))
    by_hand = (budget - 10e-3 - 1e-6 * context) / 10e-6 - decodes
    assert by_hand - 16 <= chunk <= by_hand + 1e-6


def test_no_chunk_fits_where_decodes_use_up_the_budget_and_the_limit_holds() -> None:
    assert largest_chunk(LINEAR, 100, 50_000, 0.03, 8192, evenly(0)) == 0
    assert largest_chunk(LINEAR, 1, 0, inf, 512, evenly(0)) == 512


def test_the_kv_peak_of_three_requests_by_hand() -> None:
    # 10 tokens to come each: one has 8 of them left, one 2. After 2 steps the batch holds 3 × 2 more, and the second leaves.
    running = [
        Request(prompt_tokens=100, generated_tokens=2, expected_output_tokens=10),
        Request(prompt_tokens=50, generated_tokens=8, expected_output_tokens=10),
    ]
    total = 102 + 58 + 20
    after_two, after_eight, after_ten = total + 3 * 2, (total - 58) + 2 * 8, 20 + 10
    assert kv_peak(running, 20, 10) == max(after_two, after_eight, after_ten)


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 60)), max_size=12), st.integers(1, 500), st.integers(1, 50))
def test_the_kv_peak_is_that_of_a_simulation_token_by_token(batch: list[tuple[int, int]], prompt: int, output: int) -> None:
    running = [Request(prompt_tokens=p, generated_tokens=g, expected_output_tokens=output) for p, g in batch]
    alive = [[p + g, max(1, output - g)] for p, g in batch] + [[prompt, output]]
    peak = sum(context for context, _ in alive)
    while alive:
        for one in alive:
            one[0] += 1
            one[1] -= 1
        peak = max(peak, sum(context for context, _ in alive))
        alive = [one for one in alive if one[1] > 0]
    assert kv_peak(running, prompt, output) == peak


Event = tuple[int, int, bool]
"""Of a step: prompt of who joins (0: no one), place of who leaves, and whether someone sits out or is preempted."""


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 20), st.booleans()), min_size=1, max_size=40))
@settings(deadline=None)
def test_an_outlook_that_is_carried_on_says_what_a_look_at_all_requests_says(events: list[Event]) -> None:
    outlook, running, waiting = Outlook(), [], []  # type: ignore[var-annotated]
    for step, (joins, leaver, disturbed) in enumerate(events):
        running = [replace(r, generated_tokens=r.generated_tokens + 1, prefilled_tokens=r.prompt_tokens) for r in running]
        if disturbed and running:  # the newest loses its place, and comes back behind all others without what it had
            waiting.append(replace(running.pop(), prefilled_tokens=0))
        elif leaver < len(running):
            del running[leaver]
        running += waiting
        waiting = [Request(id=step, prompt_tokens=joins, expected_output_tokens=20)] if joins else []
        values = {"running_count": len(running), "waiting_count": len(waiting), "step": step + 100}
        here = Engine(running=tuple(running), waiting=tuple(waiting), **values)  # type: ignore[arg-type]
        assert outlook.peak(here, 70, 20) == kv_peak([*running, *waiting], 70, 20)


def test_an_idle_engine_admits_and_its_estimates_are_those_worked_out_by_hand() -> None:
    verdict = Admission().decode(request(), engine(), 0.05, prefill=True)
    assert verdict.refused == ""
    assert verdict.ttft_s == pytest.approx(10e-3 + 1000 * 10e-6)
    assert verdict.iter_max_s == pytest.approx(10e-3 + 10e-6 + 1100 * 1e-6)
    assert verdict.iter_now_s == pytest.approx(10e-3 + 10e-6 + 1000 * 1e-6)


def test_each_check_refuses_for_its_own_reason() -> None:
    judge = Admission().decode
    assert judge(request(), engine(running=4, context=10, max_seqs=4), 0.05, prefill=True).refused == "seats"
    assert judge(request(), engine(kv_tokens_capacity=1099), 0.05, prefill=True).refused == "kv"
    assert judge(request(), engine(kv_tokens_capacity=1100), 0.05, prefill=True).refused == ""
    assert judge(request(), engine(running=30, context=1000), 0.04, prefill=True).refused == "tpot"
    assert judge(request(ttft=0.015), engine(), 0.05, prefill=True).refused == "ttft"
    late = request(ttft=0.5, tpot=0.05)
    assert judge(late, engine(now_s=0.49, step_ends_s=0.49), 0.05, prefill=True).refused == "ttft"
    # In the first step the prompt is done after 20 ms; the second token needs 11.01 ms more, and 20 + 10 ms are allowed.
    assert judge(request(ttft=0.020, tpot=0.010), engine(), 0.05, prefill=True).refused == "second token"


def test_what_has_been_waited_and_the_step_in_progress_count_against_the_first_token() -> None:
    verdict = Admission().decode(request(), engine(now_s=0.1, step_ends_s=0.13), 0.05, prefill=True)
    assert verdict.ttft_s == pytest.approx(0.13 + 10e-3 + 1000 * 10e-6)


def test_a_prompt_that_came_during_the_step_in_progress_is_no_part_of_it() -> None:
    # The step has 20 ms to go and decodes alone; whoever is behind the prompt waits for both.
    busy = {"now_s": 0.0, "step_ends_s": 0.02, "pending_prefill_tokens": 800}
    waits = engine(running=20, context=500, **busy, waiting=(Request(id=9, prompt_tokens=800),), waiting_count=1)
    runs = engine(running=20, context=500, **busy)
    runs = replace(runs, running=(*runs.running, Request(id=9, prompt_tokens=800)))  # one that runs is what the step computes
    late, early = (Admission().decode(request(prompt=800, ttft=1.0), here, 0.03, prefill=True).ttft_s for here in (waits, runs))
    assert late == pytest.approx(0.02 + 2 * 0.03)
    assert 0.02 < early < 0.02 + 0.03  # one chunk, which no one is there to fill up


def test_chunks_are_smaller_where_prompts_attend_to_much_that_is_computed() -> None:
    steep = FingerprintLatency(Fingerprint.linear(overhead_s=10e-3, per_token_s=10e-6, per_prefill_attention_s=5e-9))
    short, long = (
        replace(engine(running=1, waiting_count=1, pending_prefill_tokens=9000), waiting=waiting, latency=steep)
        for waiting in (tuple(Request(id=i, prompt_tokens=100) for i in range(90)), (Request(id=9, prompt_tokens=9000),))
    )
    first, second = (Admission().decode(request(ttft=9.0), here, 0.03, prefill=True).ttft_s for here in (short, long))
    assert first < second


STEEP = FingerprintLatency(Fingerprint.linear(overhead_s=10e-3, per_token_s=10e-6, per_prefill_attention_s=5e-9))


def test_what_is_left_of_a_long_prompt_under_way_attends_to_all_that_is_computed_of_it() -> None:
    # Both engines have 4,000 tokens to go, of one prompt that runs; in one they stand behind 20,000 that are there.
    here = replace(engine(running=1, pending_prefill_tokens=4000), latency=STEEP, now_s=0.0, step_ends_s=0.0)
    young, old = (
        replace(here, running=(*here.running, Request(id=9, prompt_tokens=4000 + done, prefilled_tokens=done)))
        for done in (0, 20_000)
    )
    first, second = (Admission().decode(request(prompt=16, ttft=9.0), one, 0.03, prefill=True).ttft_s for one in (young, old))
    # 30 ms less 10 ms leave 987 tokens of 10 µs + 2,048 × 5 ns each, or 166 of 10 µs + 22,016 × 5 ns.
    assert first == pytest.approx(5 * 0.03)
    assert 24 * 0.03 <= second <= 27 * 0.03


@given(st.lists(st.builds(Prompt, st.integers(1, 900), st.integers(0, 5000)), max_size=6), st.integers(0, 6000))
def test_what_prompts_in_order_attend_to_is_the_plain_sum_to_the_last_digit(prompts: list[Prompt], tokens: int) -> None:
    left, attention, count = tokens, 0.0, 0
    for prompt in prompts:
        if left <= 0:
            break
        taken = min(left, prompt.left)
        attention += prompt.attention(taken)
        left, count = left - taken, count + 1
    assert in_order(prompts)(tokens) == (attention, max(1, count))


def test_prompts_are_computed_in_order_and_each_attends_to_its_own_tokens() -> None:
    prompts = [Prompt(100, 900), Prompt(300), Prompt(500)]
    assert in_order(prompts)(100) == (100 * 950, 1)
    assert in_order(prompts)(450) == (100 * 950 + 300 * 150 + 50 * 25, 3)
    assert after(prompts, 150) == [Prompt(250, 50), Prompt(500)]
    assert after(prompts, 1000) == []


def test_the_second_token_waits_for_the_step_in_progress_and_for_the_one_in_which_the_kv_is_pulled() -> None:
    # Ten decodes of 1,000 tokens and the new one: a step takes 10 ms + 11 × 10 µs + 11 ms.
    step = 10e-3 + 11 * (10e-6 + 1000e-6)
    done = {"first_token_s": 0.1, "generated_tokens": 1, "kv_engine": "p0", "ttft": 0.1, "output": 1}
    due = 0.1 + 0.05
    for spare, refused in ((1e-4, ""), (-1e-4, "second token")):
        ends = due - 2 * step - spare
        busy = engine(running=10, context=1000, now_s=0.1, step_ends_s=ends)
        assert Admission().decode(request(**done), busy, 0.05, prefill=False).refused == refused  # type: ignore[arg-type]
    assert Admission().decode(request(**done), engine(now_s=0.13, step_ends_s=0.13), 0.05, prefill=False).refused == ""  # type: ignore[arg-type]


def test_a_prefill_engine_leaves_the_decode_engine_two_steps_to_take_over() -> None:
    # An idle engine takes 10 ms + 2,048 × 10 µs for a step, filled up by others.
    first = 10e-3 + 2048 * 10e-6
    for spare, refused in ((1e-4, ""), (-1e-4, "second token")):
        asked = request(ttft=first + 2 * 0.02 + spare, tpot=0.02)
        assert Admission().prefill(asked, engine()).refused == refused
    assert Admission().prefill(request(ttft=first + 1e-4, tpot=None), engine()).refused == ""


def test_a_prefill_engine_is_later_the_more_its_queue_has_to_attend_to() -> None:
    steep = FingerprintLatency(Fingerprint.linear(overhead_s=10e-3, per_token_s=10e-6, per_prefill_attention_s=1e-9))
    queues = (tuple(Request(id=i, prompt_tokens=1000) for i in range(9)), (Request(id=9, prompt_tokens=9000),))
    short, long = (replace(engine(pending_prefill_tokens=9000), waiting=queue, running=(), latency=steep) for queue in queues)
    first, second = (Admission().prefill(request(ttft=9.0), here).ttft_s for here in (short, long))
    assert second - first == pytest.approx(1e-9 * (9000**2 - 9 * 1000**2) / 2, rel=0.05)


def test_who_is_late_anyway_is_judged_for_room_alone() -> None:
    late = request(ttft=0.001)
    assert Admission().decode(late, engine(), 0.05, prefill=True).refused == "ttft"
    assert Admission().decode(late, engine(), 0.05, prefill=True, timely=False).refused == ""
    assert Admission().decode(late, engine(kv_tokens_capacity=1099), 0.05, prefill=True, timely=False).refused == "kv"


def test_beside_decodes_the_prompt_is_played_through_in_chunks_that_keep_the_budget() -> None:
    # 20 decodes of 500 tokens read 10 ms; a budget of 30 ms leaves 980 prompt tokens at first, then fewer.
    verdict = Admission().decode(request(prompt=2500, ttft=1.0), engine(running=20, context=500), 0.03, prefill=True)
    assert verdict.refused == ""
    assert verdict.ttft_s == pytest.approx(3 * 0.03)


def test_a_prefill_engine_is_judged_by_its_queue_in_steps_of_2048_tokens() -> None:
    admission = Admission()
    queue = {"pending_prefill_tokens": 9000, "waiting": (Request(prompt_tokens=9000),), "waiting_count": 1}
    verdict = admission.prefill(request(prompt=1000), engine(**queue, max_batched_tokens=5000))
    assert verdict.ttft_s == pytest.approx(5 * (10e-3 + 2048 * 10e-6))  # 10,000 tokens, the fifth step filled up by others
    assert verdict.refused == ""
    assert admission.prefill(request(prompt=1000, ttft=0.1), engine(**queue)).refused == "ttft"


def test_a_reserve_is_left_over_of_the_first_tokens_objective() -> None:
    tight = request(ttft=0.021)  # the prompt takes 20 ms
    assert Admission().decode(tight, engine(), 0.05, prefill=True).refused == ""
    assert Admission(reserve=0.1).decode(tight, engine(), 0.05, prefill=True).refused == "ttft"


def test_where_the_bound_does_not_fit_a_batch_that_is_nearly_done_may_still_take_one_more() -> None:
    old = tuple(
        Request(id=i, prompt_tokens=500, prefilled_tokens=500, generated_tokens=90, expected_output_tokens=100) for i in range(20)
    )
    values = {"running_count": 20, "running": old, "waiting": (), "kv_tokens_used": 20 * 590, "step": 200}
    batch = Engine(latency=LINEAR, **values)  # type: ignore[arg-type]
    assert Admission(projection="bound").decode(request(prompt=100), batch, 0.0235, prefill=True).refused == "tpot"
    assert Admission(projection="simulate").decode(request(prompt=100), batch, 0.0235, prefill=True).refused != "tpot"


def test_a_request_without_objectives_is_refused_for_want_of_room_only() -> None:
    free = request(ttft=None, tpot=None)
    assert Admission().decode(free, engine(running=50, context=1000), inf, prefill=True).refused == ""
    assert Admission().decode(free, engine(running=50, context=1000, kv_tokens_capacity=51_000), inf, prefill=True).refused == "kv"


def test_tiers_are_named_by_their_budget() -> None:
    assert tier_of(SLO(tpot_s=0.02)) == "20ms"
    assert tier_of(SLO(tpot_s=0.0125)) == "12.5ms"
    assert tier_of(SLO()) == BEST_EFFORT
    assert budget_s("12.5ms") == 0.0125
    assert budget_s(BEST_EFFORT) == inf
    with pytest.raises(ValueError, match="TPOT budget"):
        budget_s("chat")


def test_step_time_counts_prompt_and_decode_tokens_alike_in_these_tests() -> None:
    assert LINEAR.seconds(StepShape(100, 5000, 1, 10, 2000)) == pytest.approx(10e-3 + 110 * 10e-6 + 2000e-6)
