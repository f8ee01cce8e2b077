from __future__ import annotations

import pytest

from tests.traces.golden import golden_record
from traces.divergence import divergences, telling
from traces.errors import InputError


def engine(name, running=0, waiting=0, prefill=0, kv=0):
    return {"id": name, "running_count": running, "waiting_count": waiting, "pending_prefill_tokens": prefill, "kv_tokens_used": kv}


def routed(request, to, *, now=0.0, engines=(), scores=None, kind="Assign", reason="fewest"):
    entry = {
        "point": "router",
        "decision": kind,
        "reason": reason,
        "now_s": now,
        "request": {"id": request, "tier": "fast", "prompt_tokens": 100},
        "engines": list(engines),
    }
    return entry | ({"engine": to, "scores": scores or {}} if kind == "Assign" else {})


def run(*decisions):
    record = golden_record()
    return type(record)(record.manifest, record.requests, record.steps, record.fleet, record.gaps, decisions=list(decisions))


def test_equal_decisions_do_not_diverge_whatever_their_reasons():
    a = run(routed(0, "e0"), routed(1, "e1"))
    b = run(routed(0, "e0", reason="other words"), routed(1, "e1"))
    assert divergences(a, b) == []


def test_the_first_difference_comes_with_reasons_scores_and_what_each_saw():
    seen = [engine("e0", running=3, prefill=512), engine("e1", running=1)]
    a = run(routed(0, "e0"), routed(1, "e1", now=2.5, engines=seen, scores={"e0": 3, "e1": 1}))
    b = run(routed(0, "e0"), routed(1, "e0", now=2.5, engines=seen, scores={"e0": 0.2, "e1": 0.9}, reason="cheapest"))
    (found,) = divergences(a, b)
    assert (found.request, found.a.engine, found.b.engine, found.a.now_s) == (1, "e1", "e0", 2.5)
    assert (found.a.reason, found.b.reason) == ("fewest", "cheapest")
    assert (found.a.score, found.b.score) == (1, 0.2)
    assert found.same_view
    assert found.loads["e0"][0]["pending_prefill_tokens"] == 512
    assert [view["score"] for view in found.loads["e0"]] == [3, 0.2]


def test_views_that_differ_are_told():
    a = run(routed(0, "e0", engines=[engine("e0", running=1)]))
    b = run(routed(0, "e1", engines=[engine("e0", running=2), engine("e1")]))
    (found,) = divergences(a, b)
    assert not found.same_view
    assert found.loads["e1"][0] is None


def test_decisions_are_matched_by_request_and_turn_not_by_their_place_in_the_log():
    a = run(routed(0, "e0"), routed(1, "", kind="Hold"), routed(2, "e1"), routed(1, "e0"))
    b = run(routed(1, "", kind="Hold"), routed(1, "e0"), routed(0, "e0"), routed(2, "e1"))
    assert divergences(a, b) == []


def test_shedding_differs_from_assigning_and_from_holding():
    a = run(routed(0, "e0"), routed(1, "", kind="Hold"))
    b = run(routed(0, "", kind="Shed"), routed(1, "", kind="Shed"))
    assert [(d.a.kind, d.b.kind, d.b.engine) for d in divergences(a, b)] == [("Assign", "Shed", None), ("Hold", "Shed", None)]


def test_a_tie_is_told_from_a_judgement_and_comes_only_first():
    idle = [engine("e0"), engine("e1")]
    even, uneven = {"e0": 0, "e1": 0}, {"e0": 2, "e1": 0}
    ties = (
        [routed(i, "e0", engines=idle, scores=even) for i in (0, 1)],
        [routed(i, "e1", engines=idle, scores=even) for i in (0, 1)],
    )
    a = run(*ties[0], routed(2, "e0", engines=idle, scores=even))
    b = run(*ties[1], routed(2, "e1", engines=idle, scores=uneven))
    found = divergences(a, b)
    assert [d.tie for d in found] == [True, True, False]
    assert [d.request for d in telling(found)] == [0, 2]


def test_batchers_entries_are_passed_over():
    batcher = {"point": "batcher", "engine": "e0", "decision": "StepPlan", "reason": "", "now_s": 0.0}
    assert len(divergences(run(batcher, routed(0, "e0")), run(routed(0, "e1"), batcher))) == 1


def test_without_full_logs_the_remedy_is_named():
    with pytest.raises(InputError, match="no decision log; run it with `decisions: full`"):
        divergences(golden_record(), run())
    with pytest.raises(InputError, match="only a summary"):
        divergences(run({"point": "router", "count": 3}), run())
